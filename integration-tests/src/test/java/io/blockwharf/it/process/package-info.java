/**
 * The daemon as a process, against programs that nobody here wrote. The tests know it only by its
 * command line, its sockets, its messages and its exit status, so that they run against
 * qemu-storage-daemon just as well, which shows that they ask for nothing peculiar: {@code
 * BLOCKWHARF_IT_DAEMON=qemu-storage-daemon}. Where we differ on purpose, the test says so.
 */
package io.blockwharf.it.process;
