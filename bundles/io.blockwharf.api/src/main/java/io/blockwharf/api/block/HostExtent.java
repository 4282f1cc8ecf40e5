package io.blockwharf.api.block;

/**
 * Bytes of a node as they lie in a file of the host.
 *
 * @param fd file descriptor, readable; it belongs to the node
 * @param offset offset in the file, bytes
 * @param length bytes
 */
public record HostExtent(int fd, long offset, long length) {}
