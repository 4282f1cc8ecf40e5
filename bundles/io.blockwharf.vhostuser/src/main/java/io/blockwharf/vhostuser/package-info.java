/** The vhost-user-blk export type. */
package io.blockwharf.vhostuser;
