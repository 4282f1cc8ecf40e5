package io.blockwharf.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.ToDoubleFunction;

/**
 * Compares vhost-user-blk exports with those of qemu-storage-daemon, all servers up at once and
 * taking turns, and with the least that any server has to do. Options are those of {@link Options}
 * that make sense here.
 */
public final class VhostUserBenchmark {
    private static final long IMAGE_BYTES = 256 << 20;
    private static final int QUEUES = 4;

    private static final String BLOCKWHARF = "Blockwharf";
    private static final String QEMU = "qemu-storage-daemon";
    private static final String LIMIT = "limit in C";

    /** What issue 5 asks for, against the faster one of QEMU's. */
    private static final double CPU_TARGET = 1.0 / 3;

    private static double target(int depth) {
        return depth == 1 ? 1.3 : depth == 16 ? 3.5 : 4;
    }

    /** Longer than any server polls when its driver has nothing more to do. */
    private static final int POLLING_MILLIS = 30;

    /** Where driver and servers run. */
    private enum Placement {
        TOGETHER("Driver and server on one CPU"),
        APART("Driver and server on a CPU each");

        final String title;

        Placement(String title) {
            this.title = title;
        }
    }

    private record Load(Placement placement, int queues, boolean write, int depth) {
        String title() {
            return "4 KiB random %s, %d %s, depth %d"
                    .formatted(
                            write ? "write" : "read",
                            queues,
                            queues == 1 ? "queue" : "queues",
                            depth);
        }
    }

    private record Server(String title, Process process, Path readSocket, Path writeSocket) {}

    private final Options options;
    private final Path program;
    private final Path directory;
    private final DataFile cached;
    private final DataFile inMemory;
    private final List<Server> servers = new ArrayList<>();

    private VhostUserBenchmark(Options options) throws IOException {
        this.options = options;
        program = Path.of(System.getProperty("blockwharf.benchmarks.module"), "target/virtio-load");
        Files.createDirectories(options.directory());
        // Not under the checkout: the path of a unix socket has 107 bytes at most.
        directory = Files.createTempDirectory("vhost");
        cached = DataFile.create(options.directory().resolve("vhost.raw"), IMAGE_BYTES);
        inMemory = DataFile.create(options.memoryDirectory().resolve("vhost.raw"), IMAGE_BYTES);
    }

    /** Runs it; see the script {@code run-vhost-user}. */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        Options options = Options.parse(arguments);
        if (options.help()) {
            System.out.println(Options.USAGE);
            return;
        }
        var benchmark = new VhostUserBenchmark(options);
        String report;
        try {
            benchmark.startAll();
            report = benchmark.report(benchmark.measure(), benchmark.allocations());
        } finally {
            benchmark.stopAll();
        }
        options.publish("vhost-user", report);
    }

    // Servers

    private void startAll() throws IOException, InterruptedException {
        servers.add(start(BLOCKWHARF, options.blockwharf().toString(), "", false));
        servers.add(start(QEMU, QEMU, ",aio=io_uring", false));
        servers.add(start(QEMU + ", iothread", QEMU, ",aio=io_uring", true));
    }

    private Server start(String title, String daemon, String fileOptions, boolean iothread)
            throws IOException, InterruptedException {
        String name = "server" + servers.size();
        Path pidFile = directory.resolve(name + ".pid");
        var command = new ArrayList<>(List.of("taskset", "-c", options.cpu(), daemon));
        if (iothread) {
            command.addAll(List.of("--object", "iothread,id=t"));
        }
        List<Path> sockets = new ArrayList<>();
        for (DataFile file : List.of(cached, inMemory)) {
            String export = "e" + sockets.size();
            Path socket = directory.resolve(name + export);
            sockets.add(socket);
            command.addAll(
                    List.of(
                            "--blockdev",
                            // Not locked, because others serve it at the same time.
                            "driver=file,locking=off,node-name="
                                    + export
                                    + ",filename="
                                    + file.path()
                                    + fileOptions,
                            "--export",
                            "type=vhost-user-blk,writable=on,addr.type=unix,id="
                                    + export
                                    + ",node-name="
                                    + export
                                    + ",addr.path="
                                    + socket
                                    + ",num-queues="
                                    + QUEUES
                                    + (iothread ? ",iothread=t" : "")));
        }
        command.addAll(List.of("--pidfile", pidFile.toString()));
        Process process = new ProcessBuilder(command).inheritIO().start();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (!Files.exists(pidFile)) {
            if (!process.isAlive() || System.nanoTime() > deadline) {
                process.destroy();
                throw new IOException(title + " does not start");
            }
            Thread.sleep(20);
        }
        return new Server(title, process, sockets.get(0), sockets.get(1));
    }

    private void stopAll() throws IOException, InterruptedException {
        for (Server server : servers) {
            server.process.destroy();
            server.process.waitFor(30, TimeUnit.SECONDS);
        }
        cached.delete();
        inMemory.delete();
        try (var files = Files.list(directory)) {
            for (Path file : files.toList()) {
                Files.delete(file);
            }
        }
        Files.delete(directory);
    }

    private VirtioLoad connect(Server server, Load load) throws IOException {
        Path socket = load.write ? server.writeSocket : server.readSocket;
        return VirtioLoad.connect(program, driverCpu(load.placement), load.queues, socket);
    }

    private String driverCpu(Placement placement) {
        return placement == Placement.TOGETHER ? options.cpu() : Machine.otherCpu(options.cpu());
    }

    // Measuring

    private Map<Load, Map<String, List<Sample>>> measure()
            throws IOException, InterruptedException {
        var results = new LinkedHashMap<Load, Map<String, List<Sample>>>();
        cached.warm();
        warmUp();
        for (Placement placement : Placement.values()) {
            for (int queues : new int[] {1, QUEUES}) {
                for (boolean write : new boolean[] {false, true}) {
                    var first = new Load(placement, queues, write, 1);
                    var drivers = new LinkedHashMap<String, VirtioLoad>();
                    try {
                        for (Server server : servers) {
                            drivers.put(server.title, connect(server, first));
                        }
                        Path file = (write ? inMemory : cached).path();
                        drivers.put(
                                LIMIT,
                                VirtioLoad.limit(
                                        program,
                                        driverCpu(placement),
                                        queues,
                                        file,
                                        options.cpu()));
                        for (int depth : new int[] {1, 16, 64}) {
                            var load = new Load(placement, queues, write, depth);
                            results.put(load, measure(load, drivers));
                        }
                    } finally {
                        for (VirtioLoad driver : drivers.values()) {
                            driver.close();
                        }
                    }
                }
            }
        }
        return results;
    }

    /** Until what is hot is compiled. */
    private void warmUp() throws IOException {
        for (int queues : new int[] {1, QUEUES}) {
            for (boolean write : new boolean[] {false, true}) {
                for (Server server : servers) {
                    var load = new Load(Placement.TOGETHER, queues, write, 1);
                    try (VirtioLoad driver = connect(server, load)) {
                        driver.run(write, 1, options.duration().multipliedBy(5));
                        driver.run(write, 16, options.duration().multipliedBy(5));
                    }
                }
            }
        }
    }

    private Map<String, List<Sample>> measure(Load load, Map<String, VirtioLoad> drivers)
            throws IOException, InterruptedException {
        var samples = new LinkedHashMap<String, List<Sample>>();
        var titles = List.copyOf(drivers.keySet());
        for (String title : titles) {
            samples.put(title, new ArrayList<>());
            drivers.get(title).run(load.write, load.depth, options.duration());
        }
        for (int round = 0; round < options.rounds(); round++) {
            for (int i = 0; i < titles.size(); i++) {
                String title = titles.get((i + round) % titles.size());
                Thread.sleep(POLLING_MILLIS); // who was measured before sleeps now
                samples.get(title)
                        .add(drivers.get(title).run(load.write, load.depth, options.duration()));
            }
        }
        samples.forEach(
                (title, list) ->
                        System.err.printf(
                                Locale.ROOT,
                                "%-10s %-40s %-30s %8.1f k/s %6.2f us%n",
                                load.placement,
                                load.title(),
                                title,
                                Sample.median(list, Sample::requestsPerSecond) / 1e3,
                                Sample.median(list, Sample::serverCpuMicros)));
        return samples;
    }

    /** Bytes that all threads of Blockwharf allocate, by request. */
    private Map<Load, Double> allocations() throws IOException {
        var results = new LinkedHashMap<Load, Double>();
        Server blockwharf = servers.getFirst();
        try (var probe = AllocationProbe.attach(blockwharf.process.pid())) {
            for (boolean write : new boolean[] {false, true}) {
                for (int depth : new int[] {1, 16, 64}) {
                    var load = new Load(Placement.TOGETHER, QUEUES, write, depth);
                    try (VirtioLoad driver = connect(blockwharf, load)) {
                        driver.run(write, depth, options.duration());
                        probe.reset();
                        Sample sample = driver.run(write, depth, options.duration());
                        results.put(load, (double) probe.bytes() / sample.requests());
                    }
                }
            }
        }
        return results;
    }

    // Reporting

    private String report(
            Map<Load, Map<String, List<Sample>>> results, Map<Load, Double> allocations)
            throws IOException, InterruptedException {
        var text = new StringBuilder();
        text.append("# vhost-user-blk exports\n\n")
                .append("Medians of ")
                .append(options.rounds())
                .append(" interleaved runs of ")
                .append(options.duration().toMillis())
                .append(
                        """
                         ms; ratios of medians count, absolute figures are the machine's. Written by `run-vhost-user`.
                        The driver is a program of ours in user space (no guest) that checks every answer. Depth counts
                        per queue; one thread drives all queues. Reads come from the page cache of a disk's file system,
                        writes go to a tmpfs, where nothing writes back. "Limit in C" is a process that takes requests
                        from the same rings, reads or writes the file, and notifies once for all that it found: no
                        protocol, no check. On a CPU of its own it polls and gives back every eighth request
                        at once; its CPU time there is the whole CPU. QEMU's daemon runs with aio=io_uring, in its main loop and in an iothread;
                        ratios are to the faster, CPU time is the server's with all its threads.
                        A server can have a low p99 and starve queues: those that it serves all the time are most of the
                        requests. So the longest latency of a run stands beside it, median of the runs.

                        """);
        Machine.describe(options)
                .forEach((fact, value) -> text.append("- " + fact + ": " + value + "\n"));
        for (Placement placement : Placement.values()) {
            appendTable(text, placement, results);
        }
        text.append(
                "\n"
                        + "## Allocation, all threads of the daemon\n\n"
                        + "| Load | Bytes per request |\n"
                        + "|---|--:|\n");
        allocations.forEach(
                (load, bytes) ->
                        text.append(
                                String.format(
                                        Locale.ROOT, "| %s | %.3f |%n", load.title(), bytes)));
        return text.toString();
    }

    private static void appendTable(
            StringBuilder text, Placement placement, Map<Load, Map<String, List<Sample>>> results) {
        text.append("\n## ").append(placement.title).append("\n\n");
        text.append("| Load | Thousands per second: Blockwharf | QEMU | limit | ratio |")
                .append(" CPU µs: Blockwharf | QEMU | limit | ratio |")
                .append(" p99 µs: Blockwharf | QEMU | limit |")
                .append(" longest ms: Blockwharf | QEMU | limit | Met: speed, CPU, p99 |\n")
                .append("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n");
        results.forEach(
                (load, servers) -> {
                    if (load.placement == placement) {
                        text.append(row(load, servers));
                    }
                });
    }

    private static String row(Load load, Map<String, List<Sample>> servers) {
        double speed = figure(servers, BLOCKWHARF, Sample::requestsPerSecond) / 1e3;
        double cpu = figure(servers, BLOCKWHARF, Sample::serverCpuMicros);
        double p99 = figure(servers, BLOCKWHARF, Sample::p99Nanos) / 1e3;
        String rival =
                servers.keySet().stream()
                        .filter(title -> title.startsWith(QEMU))
                        .max(
                                (a, b) ->
                                        Double.compare(
                                                figure(servers, a, Sample::requestsPerSecond),
                                                figure(servers, b, Sample::requestsPerSecond)))
                        .orElseThrow();
        double rivalSpeed = figure(servers, rival, Sample::requestsPerSecond) / 1e3;
        double rivalCpu = figure(servers, rival, Sample::serverCpuMicros);
        double rivalP99 = figure(servers, rival, Sample::p99Nanos) / 1e3;
        double limit = figure(servers, LIMIT, Sample::requestsPerSecond) / 1e3;
        double limitCpu = figure(servers, LIMIT, Sample::serverCpuMicros);
        return String.format(
                Locale.ROOT,
                "| %s | %.0f | %.0f | %.0f (%.2f×) | **%.2f×** |"
                        + " %.2f | %.2f | %.2f (%.2f×) | **%.2f×** |"
                        + " %.0f | %.0f | %.0f | %.1f | %.1f | %.1f | %s, %s, %s |%n",
                load.title(),
                speed,
                rivalSpeed,
                limit,
                limit / rivalSpeed,
                speed / rivalSpeed,
                cpu,
                rivalCpu,
                limitCpu,
                limitCpu / rivalCpu,
                cpu / rivalCpu,
                p99,
                rivalP99,
                figure(servers, LIMIT, Sample::p99Nanos) / 1e3,
                longestMillis(servers, BLOCKWHARF),
                longestMillis(servers, rival),
                longestMillis(servers, LIMIT),
                met(speed >= target(load.depth) * rivalSpeed),
                load.depth == 1 ? "–" : met(cpu <= CPU_TARGET * rivalCpu),
                met(p99 < rivalP99));
    }

    private static double longestMillis(Map<String, List<Sample>> servers, String title) {
        return figure(servers, title, Sample::longestNanos) / 1e6;
    }

    private static String met(boolean yes) {
        return yes ? "yes" : "no";
    }

    private static double figure(
            Map<String, List<Sample>> servers, String title, ToDoubleFunction<Sample> figure) {
        return Sample.median(servers.get(title), figure);
    }
}
