package io.blockwharf.benchmarks;

import static io.blockwharf.benchmarks.Server.NBDKIT;
import static io.blockwharf.benchmarks.Server.QEMU_NBD;
import static io.blockwharf.benchmarks.Server.QSD;

import io.blockwharf.benchmarks.Load.Client;
import io.blockwharf.benchmarks.Row.Data;
import io.blockwharf.benchmarks.Row.Placement;
import io.blockwharf.benchmarks.Row.Target;
import io.blockwharf.benchmarks.Row.Target.Cpu;
import io.blockwharf.benchmarks.Row.Target.Throughput;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * What is measured, and what is demanded of it. A new kind of export is a new {@link Section} here.
 */
final class Plan {
    /**
     * Rows of the report that belong together; their servers stay up from the first to the last
     * row.
     */
    record Section(String title, String text, List<Row> rows) {}

    private final Server blockwharf;
    private final List<Server> hotServers;
    private final List<Server> limitedServers;
    private final List<Server> fioServers;
    private final List<Server> coldServers;
    private final List<Server> directServers;

    private Plan(Path program) {
        blockwharf = Server.blockwharf(program, "");
        var iothread = List.of(Server.qemuStorageDaemon("io_uring", true));
        var qemu =
                List.of(
                        Server.qemuStorageDaemon("io_uring", false),
                        Server.qemuStorageDaemon("threads", false),
                        Server.qemuNbd("io_uring"),
                        Server.qemuNbd("threads"));
        var nbdkit = List.of(Server.nbdkit(1), Server.nbdkit(16));
        hotServers = servers(List.of(blockwharf), iothread, qemu, nbdkit);
        var reference = List.of(Server.reference(true), Server.reference(false));
        limitedServers = servers(hotServers, reference);
        fioServers = servers(List.of(blockwharf), qemu, nbdkit, List.of(Server.reference(true)));
        directServers =
                servers(
                        List.of(
                                blockwharf,
                                Server.blockwharf(program, "io_uring"),
                                Server.blockwharf(program, "threads")),
                        iothread,
                        qemu);
        coldServers = servers(directServers, List.of(Server.nbdkit(16)));
    }

    static List<Section> of(Path program) {
        var plan = new Plan(program);
        return List.of(plan.hot(), plan.disk(), plan.free(), plan.fio(), plan.cold());
    }

    private Section hot() {
        var rows = new ArrayList<Row>();
        for (boolean write : new boolean[] {false, true}) {
            String id = write ? "hot-write-" : "hot-read-";
            rows.add(hot(id + "4k-d1", Load.random(write, 1, Client.PIPELINED), atLeast(1.3, 1.5)));
            rows.add(
                    hot(
                            id + "4k-d16",
                            Load.random(write, 16, Client.PIPELINED),
                            List.of(
                                    new Throughput(QSD, 5),
                                    new Throughput(NBDKIT, 3.5),
                                    new Cpu(QSD, 0.25))));
            rows.add(hot(id + "4k-d64", Load.random(write, 64, Client.PIPELINED), List.of()));
            for (int depth : new int[] {1, 16}) {
                rows.add(
                        hot(
                                id + "256k-d" + depth,
                                Load.sequential(write, depth),
                                write ? atLeast(1.5, 1) : atLeast(1.8, 1.5)));
                if (!write) {
                    rows.add(
                            hot(
                                    "hot-structured-4k-d" + depth,
                                    Load.random(false, depth, Client.PIPELINED_STRUCTURED),
                                    List.of()));
                }
            }
        }
        return new Section(
                "Page cache hot, one CPU",
                "Client and servers share one CPU. The client pipelines: one read and one write for"
                    + " all that is due. Writes go to a tmpfs, because on a disk's file system what"
                    + " they cost is mostly the kernel's write-back; the next section has those.",
                rows);
    }

    private static Data hot(boolean write) {
        return write ? Data.MEMORY : Data.HOT;
    }

    private Row hot(String id, Load load, List<Target> targets) {
        return new Row(
                id,
                load,
                hot(load.access().writes()),
                Placement.PINNED,
                targets.isEmpty() ? hotServers : limitedServers,
                targets);
    }

    private Section disk() {
        var rows = new ArrayList<Row>();
        for (int depth : new int[] {1, 16}) {
            rows.add(
                    new Row(
                            "writeback-write-4k-d" + depth,
                            Load.random(true, depth, Client.PIPELINED),
                            Data.HOT,
                            Placement.PINNED,
                            hotServers,
                            List.of()));
        }
        rows.add(
                new Row(
                        "writeback-write-256k-d16",
                        Load.sequential(true, 16),
                        Data.HOT,
                        Placement.PINNED,
                        hotServers,
                        List.of()));
        return new Section(
                "Writes to the disk's file system, one CPU",
                "As before, but the kernel writes back to the disk meanwhile. For information,"
                        + " without targets.",
                rows);
    }

    private Section free() {
        var rows = new ArrayList<Row>();
        for (int depth : new int[] {1, 16}) {
            for (boolean write : new boolean[] {false, true}) {
                rows.add(
                        new Row(
                                "free-" + (write ? "write" : "read") + "-4k-d" + depth,
                                Load.random(write, depth, Client.PIPELINED),
                                hot(write),
                                Placement.FREE,
                                hotServers,
                                List.of()));
            }
        }
        return new Section(
                "Page cache hot, free placement",
                "The scheduler places client and servers; whether it puts them on one CPU or on two"
                    + " decides the latency and changes from run to run. For information, without"
                    + " targets.",
                rows);
    }

    private Section fio() {
        var rows = new ArrayList<Row>();
        for (boolean write : new boolean[] {false, true}) {
            for (int depth : new int[] {1, 16}) {
                rows.add(
                        new Row(
                                "fio-" + (write ? "write" : "read") + "-4k-d" + depth,
                                Load.random(write, depth, Client.FIO),
                                hot(write),
                                Placement.PINNED,
                                fioServers,
                                atLeast(1.7, 1)));
            }
        }
        return new Section(
                "fio's nbd engine, page cache hot, one CPU",
                "fio sends each request with a system call of its own, and its own CPU time is part"
                        + " of every figure. qemu-storage-daemon 7.2.22 aborts when a client of an"
                        + " export in an iothread leaves, as fio does after every run, so that this"
                        + " configuration is not here.",
                rows);
    }

    private Section cold() {
        var rows = new ArrayList<Row>();
        for (Data data : new Data[] {Data.DROPPED, Data.DIRECT}) {
            for (int depth : new int[] {16, 64}) {
                rows.add(
                        new Row(
                                "cold-" + data.title + "-4k-d" + depth,
                                Load.random(false, depth, Client.PIPELINED),
                                data,
                                Placement.PINNED,
                                data == Data.DIRECT ? directServers : coldServers,
                                List.of(
                                        new Throughput(QSD, 1.2),
                                        new Throughput(QEMU_NBD, 1.2),
                                        new Cpu(QSD, 1),
                                        new Cpu(QEMU_NBD, 1))));
            }
        }
        return new Section(
                "Disk, one CPU",
                "The data comes from the disk: \"dropped\" means that the file is dropped from the"
                        + " page cache before each run, \"direct\" that the servers open it with"
                        + " cache.direct=on. All serve it read-only.",
                rows);
    }

    private static List<Target> atLeast(double qsd, double nbdkit) {
        return List.of(new Throughput(QSD, qsd), new Throughput(NBDKIT, nbdkit));
    }

    @SafeVarargs
    private static List<Server> servers(List<Server>... groups) {
        var all = new ArrayList<Server>();
        for (List<Server> group : groups) {
            all.addAll(group);
        }
        return List.copyOf(all);
    }
}
