package io.blockwharf.fuse;

import org.osgi.service.log.Logger;

import java.util.Optional;
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
        if (!isThreads(threads)) {
            throw new IllegalArgumentException("threads must be between 1 and " + MAX_THREADS);
        }
    }

    private static boolean isThreads(int threads) {
        return threads >= 1 && threads <= MAX_THREADS;
    }

    /**
     * From properties: {@code threads}, {@code passthrough}, {@code ring}. What cannot be used is
     * logged, and as if it were not there: without settings there would be no exports either.
     */
    static FuseSettings of(Function<String, Object> properties, Logger log) {
        int usual = Math.clamp(Runtime.getRuntime().availableProcessors(), 2, 4);
        return new FuseSettings(
                setting(properties, log, "threads", usual, FuseSettings::threads),
                setting(properties, log, "passthrough", true, FuseSettings::isOn),
                setting(properties, log, "ring", false, FuseSettings::isOn));
    }

    private static <T> T setting(
            Function<String, Object> properties,
            Logger log,
            String name,
            T usual,
            Function<String, Optional<T>> parse) {
        Object given = properties.apply(name);
        if (given == null) {
            return usual;
        }
        Optional<T> parsed = parse.apply(given.toString().strip());
        if (parsed.isEmpty()) {
            log.warn(
                    "io.blockwharf.fuse: cannot use {}={}, {} is taken instead",
                    name,
                    given,
                    usual);
        }
        return parsed.orElse(usual);
    }

    private static Optional<Integer> threads(String text) {
        try {
            return Optional.of(Integer.parseInt(text)).filter(FuseSettings::isThreads);
        } catch (NumberFormatException e) {
            return Optional.empty();
        }
    }

    private static Optional<Boolean> isOn(String text) {
        return switch (text) {
            case "true" -> Optional.of(true);
            case "false" -> Optional.of(false);
            default -> Optional.empty();
        };
    }
}
