package io.blockwharf.benchmarks;

import java.util.List;

/**
 * A line of the report: one load, one place of the data and of the programs, several servers, and
 * what is demanded of Blockwharf.
 *
 * @param id names the row on the command line
 */
record Row(
        String id,
        Load load,
        Data data,
        Placement placement,
        List<Server> servers,
        List<Target> targets) {

    /** Where the data is when a request comes. */
    enum Data {
        /** On the disk's file system, all of it in the page cache. */
        HOT("page cache"),
        /** In a tmpfs: a page cache that nothing writes back. */
        MEMORY("tmpfs"),
        /** On the disk, the file dropped from the page cache before each run. */
        DROPPED("dropped"),
        /** On the disk, the servers bypass the page cache (cache.direct=on). */
        DIRECT("direct");

        final String title;

        Data(String title) {
            this.title = title;
        }
    }

    /** On which CPUs client and servers run. */
    enum Placement {
        /** All on the same CPU, so that the scheduler has nothing to decide. */
        PINNED,
        /** Wherever the scheduler puts them. */
        FREE
    }

    /**
     * A demand on the ratio of Blockwharf's default configuration to the fastest configuration of
     * another program.
     */
    sealed interface Target {
        /** The program that Blockwharf is compared with. */
        String family();

        double bound();

        /** Requests per second, at least {@code bound} times those of the other. */
        record Throughput(String family, double bound) implements Target {}

        /**
         * CPU time of the server for one request, at most {@code bound} times that of the other.
         */
        record Cpu(String family, double bound) implements Target {}
    }

    String title() {
        return load.title()
                + ", "
                + data.title
                + (placement == Placement.PINNED ? "" : ", free placement");
    }
}
