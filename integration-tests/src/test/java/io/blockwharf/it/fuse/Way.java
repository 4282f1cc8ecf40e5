package io.blockwharf.it.fuse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;

/** The ways that requests take, each with a daemon whose exports go that way. */
enum Way {
    DEVICE("io.blockwharf.fuse.passthrough=false"),
    /** Where it is allowed: readers, and writers of growable exports. */
    PASSTHROUGH("io.blockwharf.fuse.passthrough=true"),
    /** Over io_uring. */
    RINGS("io.blockwharf.fuse.passthrough=false", "io.blockwharf.fuse.ring=true");

    /** The switch of the kernel's module, where there is one. */
    private static final Path RINGS_ENABLED = Path.of("/sys/module/fuse/parameters/enable_uring");

    private final String[] settings;

    Way(String... settings) {
        this.settings = settings;
    }

    /** The daemons of a class of tests. */
    static final class Daemons implements AutoCloseable {
        private final Map<Way, FuseDaemon> running = new EnumMap<>(Way.class);
        private final Path directory;
        private String ringsWereEnabled = "";

        Daemons(Path directory) throws IOException {
            this.directory = directory;
            if (Files.exists(RINGS_ENABLED)) {
                ringsWereEnabled = Files.readString(RINGS_ENABLED);
                Files.writeString(RINGS_ENABLED, "Y");
            }
        }

        FuseDaemon get(Way way) throws IOException {
            FuseDaemon daemon = running.get(way);
            if (daemon == null) {
                Path own = Files.createDirectory(directory.resolve(way.name().toLowerCase()));
                daemon = FuseDaemon.start(own, way.settings);
                running.put(way, daemon);
            }
            return daemon;
        }

        @Override
        public void close() throws IOException {
            if (!ringsWereEnabled.isEmpty()) {
                Files.writeString(RINGS_ENABLED, ringsWereEnabled);
            }
            for (FuseDaemon daemon : running.values()) {
                daemon.close();
            }
        }
    }
}
