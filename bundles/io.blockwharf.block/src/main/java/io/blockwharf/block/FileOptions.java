package io.blockwharf.block;

import io.blockwharf.api.qmp.WireName;

import java.util.Optional;

/**
 * QAPI {@code BlockdevOptionsFile}: options of {@code file} and {@code host_device}.
 *
 * @param filename path of the file or device
 * @param locking whether the image is locked against other processes (default auto: where the host
 *     can, which is everywhere)
 * @param aio how requests that would block are made (default: io_uring where the host has it, else
 *     threads)
 * @param dropCache whether the page cache is dropped when the node is activated, because another
 *     host may have written the disk (default true)
 * @param aioMaxBatch requests that are handed over together at most, 0 for no limit (default 0)
 */
public record FileOptions(
        String filename,
        Optional<OnOffAuto> locking,
        Optional<Aio> aio,
        Optional<Boolean> dropCache,
        Optional<Long> aioMaxBatch) {

    /** QAPI {@code OnOffAuto}. */
    public enum OnOffAuto {
        /** As the host can. */
        AUTO,
        /** Yes. */
        ON,
        /** No. */
        OFF
    }

    /** QAPI {@code BlockdevAioOptions}. */
    public enum Aio {
        /** Threads of a pool make blocking calls. */
        THREADS,
        /** The kernel's; here the same as {@link #IO_URING}. Needs cache.direct=on. */
        NATIVE,
        /** A ring that is shared with the kernel. */
        @WireName("io_uring")
        IO_URING
    }

    /** Checks the numbers. */
    public FileOptions {
        if (aioMaxBatch.orElse(0L) < 0) {
            throw new IllegalArgumentException("Parameter 'aio-max-batch' expects a number >= 0");
        }
    }
}
