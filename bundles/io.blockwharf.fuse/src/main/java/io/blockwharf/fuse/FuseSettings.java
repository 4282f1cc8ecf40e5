package io.blockwharf.fuse;

import java.util.function.Function;

/**
 * How exports are served that are opened from now on; nothing that a user of the file sees.
 *
 * @param threads serving threads of an export without I/O threads, 1 to 64
 * @param passthrough whether the kernel may work on the image itself
 * @param ring whether requests come over io_uring, where the kernel has that switched on
 */
record FuseSettings(int threads, boolean passthrough, boolean ring) {
    private static final int MAX_THREADS = 64;

    FuseSettings {
        if (threads < 1 || threads > MAX_THREADS) {
            throw new IllegalArgumentException("threads must be between 1 and " + MAX_THREADS);
        }
    }

    /** From properties: {@code threads}, {@code passthrough}, {@code ring}. */
    static FuseSettings of(Function<String, Object> properties) {
        Object threads = properties.apply("threads");
        int usual = Math.clamp(Runtime.getRuntime().availableProcessors(), 2, 4);
        return new FuseSettings(
                threads == null ? usual : Integer.parseInt(threads.toString()),
                isOn(properties.apply("passthrough"), true),
                isOn(properties.apply("ring"), false));
    }

    private static boolean isOn(Object property, boolean usual) {
        return property == null ? usual : Boolean.parseBoolean(property.toString());
    }
}
