package io.blockwharf.vduse;

import io.blockwharf.api.qmp.SizeValue;
import io.blockwharf.api.qmp.Unsigned;

import java.util.Optional;

/**
 * QAPI {@code BlockExportOptionsVduseBlk}.
 *
 * @param name of the device, {@code /dev/vduse/NAME}; the only one of this host
 * @param numQueues 1 to 65535 (default 1)
 * @param queueSize the most entries of a ring, a power of two from 4 to 1024 (default 256)
 * @param logicalBlockSize bytes, a power of two from 512 to 2 MiB (default 512)
 * @param serial what GET_ID answers (default empty)
 */
public record BlockExportOptionsVduseBlk(
        String name,
        @Unsigned(16) Optional<Integer> numQueues,
        @Unsigned(16) Optional<Integer> queueSize,
        @SizeValue Optional<Long> logicalBlockSize,
        Optional<String> serial) {}
