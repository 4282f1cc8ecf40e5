package io.blockwharf.benchmarks;

import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/**
 * Compares Blockwharf with qemu-storage-daemon, qemu-nbd and nbdkit on this machine and writes a
 * report. Every row runs in rounds, and in a round every server once, so that what else the machine
 * does hits all of them alike.
 */
public final class Benchmark implements AutoCloseable {
    private static final long HOT_BYTES = 1L << 30;
    private static final long COLD_BYTES = 4L << 30;

    /**
     * How long a server that has just been started is loaded before its first figure counts: a
     * virtual machine compiles meanwhile.
     */
    private static final Duration WARM_UP = Duration.ofSeconds(4);

    /** The same for a server that has served other loads before. */
    private static final Duration NEXT_WARM_UP = Duration.ofSeconds(2);

    private final Options options;
    private final Path directory;
    private final Map<Server, Server.Running> running = new LinkedHashMap<>();
    private final Map<Row.Data, DataFile> files = new EnumMap<>(Row.Data.class);
    private Server.Service served;
    private String placedOn = "";

    private Benchmark(Options options) throws IOException {
        this.options = options;
        Files.createDirectories(options.directory());
        directory = Files.createTempDirectory(options.directory(), "run");
    }

    /** Starts what the command line says; {@code --help} tells. */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        Options options;
        try {
            options = Options.parse(arguments);
        } catch (IllegalArgumentException e) {
            System.err.println("benchmarks: " + e.getMessage() + "\n\n" + Options.USAGE);
            System.exit(2);
            return;
        }
        if (options.help()) {
            System.out.println(Options.USAGE);
            return;
        }
        try (var benchmark = new Benchmark(options)) {
            Files.writeString(options.report(), benchmark.run());
        }
        System.err.println("wrote " + options.report());
    }

    private String run() throws IOException, InterruptedException {
        var report = new Report(options, Machine.describe(options));
        PathMatcher wanted =
                FileSystems.getDefault().getPathMatcher("glob:{" + options.rows() + "}");
        for (Plan.Section section : Plan.of(options.blockwharf())) {
            List<Row> rows =
                    section.rows().stream()
                            .filter(row -> wanted.matches(Path.of(row.id())))
                            .toList();
            if (!rows.isEmpty()) {
                var results = new LinkedHashMap<Row, Map<Server, List<Sample>>>();
                try {
                    for (Row row : rows) {
                        results.put(row, measure(row));
                    }
                } finally {
                    stopAll();
                }
                report.add(section, results);
            }
        }
        if (wanted.matches(Path.of("generator"))) {
            report.addGenerator(measure(generatorRows()));
        }
        if (wanted.matches(Path.of("allocation"))) {
            report.addAllocations(measureAllocations());
        }
        if (wanted.matches(Path.of("startup"))) {
            report.addStartUps(measureStartUps());
        }
        return report.markdown();
    }

    /** Runs a row: rounds outside, servers inside, each round beginning with another server. */
    private Map<Server, List<Sample>> measure(Row row) throws IOException, InterruptedException {
        Server.Service service = service(row.data());
        String cpus = row.placement() == Row.Placement.PINNED ? options.cpu() : Machine.allCpus();
        var samples = new LinkedHashMap<Server, List<Sample>>();
        for (Server server : row.servers()) {
            samples.put(server, new ArrayList<>());
        }
        if (!service.equals(served)) {
            stopAll();
            served = service;
        }
        place(cpus);
        if (!isCold(row)) {
            service.file().warm();
        }
        for (Server server : row.servers()) {
            boolean fresh = !running.containsKey(server);
            if (fresh) {
                running.put(server, server.start(directory, service, cpus, Map.of()));
            }
            measure(row, service, running.get(server), fresh ? WARM_UP : NEXT_WARM_UP);
        }
        place(cpus);
        for (int round = 0; round < options.rounds(); round++) {
            for (int i = 0; i < row.servers().size(); i++) {
                Server server = row.servers().get((i + round) % row.servers().size());
                Server.Running instance = running.get(server);
                if (!isCold(row)) {
                    measure(row, service, instance, options.duration().dividedBy(4));
                }
                samples.get(server).add(measure(row, service, instance, options.duration()));
            }
        }
        samples.forEach(
                (server, list) ->
                        System.err.printf(
                                "%-50s %-34s %10.1f k/s%n",
                                row.id(),
                                server.title(),
                                Sample.median(list, Sample::requestsPerSecond) / 1e3));
        return samples;
    }

    private static Sample measure(
            Row row, Server.Service service, Server.Running server, Duration duration)
            throws IOException, InterruptedException {
        Load load = row.load();
        if (row.data() == Row.Data.DROPPED) {
            service.file().dropFromCache();
        }
        try {
            long cpu = server.cpuNanos();
            long read = server.storageBytesRead();
            Sample sample =
                    switch (load.client()) {
                        case PIPELINED -> server.client(false).run(load, duration);
                        case PIPELINED_STRUCTURED -> server.client(true).run(load, duration);
                        case FIO -> FioClient.run(server.socket(), load, duration);
                    };
            if (isCold(row)) {
                checkStorage(sample.requests() * load.bytes(), server.storageBytesRead() - read);
            }
            return sample.withServerCpu(server.cpuNanos() - cpu);
        } catch (IOException e) {
            throw new IOException(
                    row.id() + ", " + server.server().title() + ": " + server.log(), e);
        }
    }

    private static boolean isCold(Row row) {
        return row.data() == Row.Data.DROPPED || row.data() == Row.Data.DIRECT;
    }

    /**
     * A fifth may come from memory: what an earlier request of the same run has read, or read
     * ahead.
     */
    private static void checkStorage(long served, long read) throws IOException {
        if (read < served / 5 * 4) {
            throw new IOException(
                    "served " + served + " bytes, but read only " + read + " from the disk");
        }
    }

    private Map<Row, Map<Server, List<Sample>>> measure(List<Row> rows)
            throws IOException, InterruptedException {
        var results = new LinkedHashMap<Row, Map<Server, List<Sample>>>();
        try {
            for (Row row : rows) {
                results.put(row, measure(row));
            }
        } finally {
            stopAll();
        }
        return results;
    }

    /** The loads of the hot rows, against a server that does nothing. */
    private List<Row> generatorRows() {
        var rows = new ArrayList<Row>();
        var loads = new ArrayList<Load>();
        for (boolean write : new boolean[] {false, true}) {
            for (int depth : new int[] {1, 16, 64}) {
                loads.add(Load.random(write, depth, Load.Client.PIPELINED));
            }
            loads.add(Load.sequential(write, 16));
        }
        for (Load load : loads) {
            rows.add(
                    new Row(
                            "generator",
                            load,
                            Row.Data.HOT,
                            Row.Placement.PINNED,
                            List.of(Server.reference(false)),
                            List.of()));
        }
        return rows;
    }

    /** Bytes that the daemon allocates for one request, by load, once its code is compiled. */
    private Map<String, Double> measureAllocations() throws IOException, InterruptedException {
        var result = new LinkedHashMap<String, Double>();
        var loads =
                List.of(
                        Load.random(false, 1, Load.Client.PIPELINED),
                        Load.random(false, 16, Load.Client.PIPELINED),
                        Load.random(false, 16, Load.Client.PIPELINED_STRUCTURED),
                        Load.random(true, 16, Load.Client.PIPELINED),
                        Load.sequential(false, 16),
                        Load.sequential(true, 16));
        place(options.cpu());
        for (String aio : List.of("", "io_uring", "threads")) {
            Server server = Server.blockwharf(options.blockwharf(), aio);
            try (var instance =
                            server.start(
                                    directory, service(Row.Data.HOT), options.cpu(), Map.of());
                    var probe = AllocationProbe.attach(instance.process().pid())) {
                // So many requests that everything is compiled: only then are objects that never
                // leave a method not made
                instance.client(false).run(loads.get(1), WARM_UP);
                for (Load load : loads) {
                    var client = instance.client(load.client() == Load.Client.PIPELINED_STRUCTURED);
                    // It takes a number of requests to be compiled, and large ones are fewer
                    client.run(load, WARM_UP.multipliedBy(load.access().random() ? 1 : 3));
                    probe.reset();
                    Sample sample = client.run(load, options.duration());
                    double perRequest = (double) probe.bytes() / sample.requests();
                    result.put(server.title() + ", " + load.title(), perRequest);
                    System.err.printf("%s: %.3f bytes per request%n", load.title(), perRequest);
                }
            }
        }
        return result;
    }

    /**
     * Starts every server several times, in rounds, and reads its memory two seconds after its
     * start.
     */
    private Map<String, List<Report.StartUp>> measureStartUps()
            throws IOException, InterruptedException {
        var results = new LinkedHashMap<String, List<Report.StartUp>>();
        var servers = new LinkedHashMap<String, Server>();
        var environments = new TreeMap<String, Map<String, String>>();
        for (Server server :
                List.of(
                        Server.blockwharf(options.blockwharf(), ""),
                        Server.qemuStorageDaemon("io_uring", false),
                        Server.qemuNbd("io_uring"),
                        Server.nbdkit(16))) {
            servers.put(server.title(), server);
        }
        for (var flags : options.javaFlags().entrySet()) {
            String title = Server.BLOCKWHARF + ", " + flags.getKey();
            servers.put(title, Server.blockwharf(options.blockwharf(), ""));
            environments.put(title, Map.of(Options.JAVA_FLAGS_VARIABLE, flags.getValue()));
        }
        for (String cpus : List.of(Machine.allCpus(), options.cpu())) {
            place(cpus);
            for (int round = 0; round < options.rounds(); round++) {
                for (var server : servers.entrySet()) {
                    String title = server.getKey();
                    try (var instance =
                            server.getValue()
                                    .start(
                                            directory,
                                            service(Row.Data.HOT),
                                            cpus,
                                            environments.getOrDefault(title, Map.of()))) {
                        instance.disconnect();
                        TimeUnit.SECONDS.sleep(2);
                        results.computeIfAbsent(
                                        title
                                                + (cpus.equals(options.cpu())
                                                        ? ", one CPU"
                                                        : ", all CPUs"),
                                        _ -> new ArrayList<>())
                                .add(
                                        new Report.StartUp(
                                                instance.readyNanos(), instance.residentKib()));
                    }
                }
            }
        }
        return results;
    }

    /** Moves this process and the servers that run, with all their threads, to CPUs. */
    private void place(String cpus) throws IOException, InterruptedException {
        if (cpus.equals(placedOn)) {
            return;
        }
        var pids = new ArrayList<Long>();
        pids.add(ProcessHandle.current().pid());
        running.values().forEach(server -> pids.add(server.process().pid()));
        for (long pid : pids) {
            Process taskset =
                    new ProcessBuilder("taskset", "-a", "-p", "-c", cpus, Long.toString(pid))
                            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                            .redirectError(ProcessBuilder.Redirect.INHERIT)
                            .start();
            if (taskset.waitFor() != 0) {
                throw new IOException("taskset failed for CPUs " + cpus);
            }
        }
        placedOn = cpus;
    }

    private Server.Service service(Row.Data data) throws IOException {
        // Dropped and direct share a file, which is larger than what a run can bring into the page
        // cache.
        Row.Data key = data == Row.Data.DIRECT ? Row.Data.DROPPED : data;
        DataFile file = files.get(key);
        if (file == null) {
            file =
                    switch (data) {
                        case HOT -> DataFile.create(directory.resolve("hot.img"), HOT_BYTES);
                        case MEMORY -> {
                            Path memory =
                                    Files.createTempFile(
                                            options.memoryDirectory(), "blockwharf", ".img");
                            yield DataFile.create(memory, HOT_BYTES);
                        }
                        case DROPPED, DIRECT ->
                                DataFile.create(directory.resolve("cold.img"), COLD_BYTES);
                    };
            files.put(key, file);
        }
        boolean cold = key == Row.Data.DROPPED;
        return new Server.Service(file, data == Row.Data.DIRECT, !cold);
    }

    private void stopAll() throws IOException {
        for (Server.Running server : running.values()) {
            server.close();
        }
        running.clear();
        served = null;
    }

    @Override
    public void close() throws IOException {
        for (DataFile file : files.values()) {
            file.delete();
        }
        Files.deleteIfExists(directory);
    }
}
