/** vhost-user-blk export driver. */
package io.blockwharf.vhostuser;
