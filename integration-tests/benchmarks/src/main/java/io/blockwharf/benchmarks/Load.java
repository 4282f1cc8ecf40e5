package io.blockwharf.benchmarks;

/**
 * What is asked of a server: the unit that a row of the report repeats over all servers and rounds.
 */
record Load(Access access, int bytes, int depth, Client client) {

    /** Direction and order of the requests. */
    enum Access {
        RANDOM_READ("4 KiB random read", "randread"),
        RANDOM_WRITE("4 KiB random write", "randwrite"),
        SEQUENTIAL_READ("256 KiB sequential read", "read"),
        SEQUENTIAL_WRITE("256 KiB sequential write", "write");

        final String title;
        final String fioName;

        Access(String title, String fioName) {
            this.title = title;
            this.fioName = fioName;
        }

        boolean writes() {
            return this == RANDOM_WRITE || this == SEQUENTIAL_WRITE;
        }

        boolean random() {
            return this == RANDOM_READ || this == RANDOM_WRITE;
        }
    }

    /** Who sends the requests. */
    enum Client {
        /** {@link PipelinedClient}, simple replies: the cheapest for every server. */
        PIPELINED(""),
        /** {@link PipelinedClient} that negotiates structured replies, as libnbd and QEMU do. */
        PIPELINED_STRUCTURED(", structured replies"),
        /** fio's nbd engine (libnbd), which sends one request per system call. */
        FIO(", fio");

        final String suffix;

        Client(String suffix) {
            this.suffix = suffix;
        }
    }

    static Load random(boolean write, int depth, Client client) {
        return new Load(write ? Access.RANDOM_WRITE : Access.RANDOM_READ, 4096, depth, client);
    }

    static Load sequential(boolean write, int depth) {
        return new Load(
                write ? Access.SEQUENTIAL_WRITE : Access.SEQUENTIAL_READ,
                256 << 10,
                depth,
                Client.PIPELINED);
    }

    String title() {
        return access.title + ", depth " + depth + client.suffix;
    }
}
