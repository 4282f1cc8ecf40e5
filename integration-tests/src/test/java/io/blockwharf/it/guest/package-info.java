/** Guests under QEMU: their disks are the daemon's, or their kernel is the daemon's host. */
package io.blockwharf.it.guest;
