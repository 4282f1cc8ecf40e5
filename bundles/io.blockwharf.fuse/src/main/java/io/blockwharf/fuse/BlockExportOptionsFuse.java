package io.blockwharf.fuse;

import java.util.Optional;

/**
 * QAPI {@code BlockExportOptionsFuse}.
 *
 * @param mountpoint an existing regular file on which the export is mounted
 * @param growable whether writes past the end make the node grow (default false)
 * @param allowOther whether other users may use the file (default auto)
 */
public record BlockExportOptionsFuse(
        String mountpoint, Optional<Boolean> growable, Optional<FuseExportAllowOther> allowOther) {}
