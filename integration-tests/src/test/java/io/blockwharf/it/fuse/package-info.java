/**
 * FUSE exports of the daemon as it is delivered, on the kernel of this machine. Needs root and
 * {@code /dev/fuse}.
 */
package io.blockwharf.it.fuse;
