/** vhost-user-blk exports used by virtual machines. */
package io.blockwharf.it.vhostuser;
