/** The vduse-blk export type. */
package io.blockwharf.vduse;
