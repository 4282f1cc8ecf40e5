/**
 * The interface of the kernel, {@code linux/vduse.h}: numbers and structures, as bytes and as
 * values.
 */
package io.blockwharf.vduse.wire;
