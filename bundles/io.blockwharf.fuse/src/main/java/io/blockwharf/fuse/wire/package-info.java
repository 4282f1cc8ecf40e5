/**
 * The messages of the kernel's FUSE protocol, {@code linux/fuse.h} version 7.44: functions of
 * bytes, without descriptors, threads or clocks. Numbers are in the byte order of the host. Section
 * names in comments are names of structures in that header.
 */
package io.blockwharf.fuse.wire;
