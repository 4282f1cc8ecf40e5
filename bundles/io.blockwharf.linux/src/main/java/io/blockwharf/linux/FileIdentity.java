package io.blockwharf.linux;

/**
 * What tells one file of this host from another.
 *
 * @param device number of the file system's device
 * @param inode number of the file in it
 */
public record FileIdentity(long device, long inode) {}
