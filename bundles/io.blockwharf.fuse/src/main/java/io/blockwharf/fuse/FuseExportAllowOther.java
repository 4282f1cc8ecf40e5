package io.blockwharf.fuse;

/** QAPI {@code FuseExportAllowOther}: whether other users than the daemon's may use the file. */
public enum FuseExportAllowOther {
    /** They may not. */
    OFF,
    /** They may; an error if the system does not allow that. */
    ON,
    /** They may if the system allows that. */
    AUTO
}
