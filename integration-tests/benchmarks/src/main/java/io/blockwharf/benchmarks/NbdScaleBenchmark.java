package io.blockwharf.benchmarks;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * What an NBD server costs when there is much of something: extents in a file, idle clients, active
 * clients. Servers are up at the same time and take turns. Options are those of {@link Options}
 * that make sense here; the rows are {@code extents}, {@code idle} and {@code active}.
 */
public final class NbdScaleBenchmark {
    private static final long SPARSE_BYTES = 1L << 40;
    private static final int EXTENTS = 100_000;
    private static final int EXTENT_BYTES = 4096;
    private static final long DATA_BYTES = 256 << 20;

    private static final int IDLE_CLIENTS = 1000;
    private static final long IDLE_LIMIT_KIB = 100 << 10;
    private static final int ACTIVE_CLIENTS = 64;
    private static final double MAP_TARGET = 3;
    private static final long QCOW2_STRIDE = 128 << 10;

    /** Options of nodes, up to the file's name. */
    private static final String RAW = "driver=file,filename=";

    private static final String QCOW2 = "driver=qcow2,file.driver=file,file.filename=";

    private final Options options;
    private final StringBuilder text = new StringBuilder();
    private final Path directory;

    private NbdScaleBenchmark(Options options) throws IOException {
        this.options = options;
        Files.createDirectories(options.directory());
        directory = Files.createTempDirectory(options.directory(), "nbd-scale");
    }

    /** Runs it; see the script {@code run-nbd-scale}. */
    public static void main(String[] arguments) throws Exception {
        Options options = Options.parse(arguments);
        if (options.help()) {
            System.out.println(Options.USAGE);
            return;
        }
        var benchmark = new NbdScaleBenchmark(options);
        try {
            benchmark.measure();
        } finally {
            benchmark.cleanUp();
        }
        options.publish("nbd-scale", benchmark.text);
    }

    private void cleanUp() throws IOException {
        try (var files = Files.list(directory)) {
            for (Path file : files.toList()) {
                Files.delete(file);
            }
        }
        Files.delete(directory);
    }

    private void measure() throws Exception {
        text.append("# Many extents, many clients\n\n")
                .append("Medians of ")
                .append(options.rounds())
                .append(" interleaved rounds, over unix sockets. Written by `run-nbd-scale`.\n\n");
        Machine.describe(options)
                .forEach((fact, value) -> text.append("- " + fact + ": " + value + "\n"));
        if (wanted("extents")) {
            extents();
        }
        DataFile file = DataFile.create(options.memoryDirectory().resolve(name()), DATA_BYTES);
        try {
            if (wanted("idle")) {
                idleClients(file);
            }
            if (wanted("active")) {
                activeClients(file);
            }
        } finally {
            file.delete();
        }
    }

    private boolean wanted(String section) {
        return options.rows().equals("*") || List.of(options.rows().split(",")).contains(section);
    }

    private static String name() {
        return "nbd-scale-" + ProcessHandle.current().pid();
    }

    // Servers

    /** Ours takes any number of clients here; qemu-nbd and nbdkit do by themselves. */
    private Server ours() {
        return ours("", RAW, "");
    }

    private Server ours(String variant, String node, String iothread) {
        String program = options.blockwharf().toString();
        return new Server(
                Server.BLOCKWHARF,
                variant,
                (socket, service) ->
                        List.of(
                                program,
                                "--object",
                                "iothread,id=t0",
                                "--blockdev",
                                "node-name=disk,read-only=on," + node + service.file().path(),
                                "--nbd-server",
                                "max-connections=0,addr.type=unix,addr.path=" + socket,
                                "--export",
                                "nbd,id=e,node-name=disk" + iothread));
    }

    private static Server qemuNbdOfQcow2() {
        return new Server(
                Server.QEMU_NBD,
                "",
                (socket, service) ->
                        List.of(
                                Server.QEMU_NBD,
                                "--read-only",
                                "--persistent",
                                "--shared=0",
                                "--socket=" + socket,
                                "--export-name=" + Server.EXPORT,
                                "--image-opts",
                                QCOW2 + service.file().path() + ",file.locking=off"));
    }

    private Map<Server, Server.Running> start(DataFile file, List<Server> servers)
            throws IOException, InterruptedException {
        Map<Server, Server.Running> running = new LinkedHashMap<>();
        try {
            for (Server server : servers) {
                running.put(
                        server,
                        server.start(
                                directory,
                                new Server.Service(file, false, false),
                                Machine.allCpus(),
                                Map.of()));
            }
        } catch (IOException e) {
            stop(running);
            throw e;
        }
        return running;
    }

    private static void stop(Map<Server, Server.Running> running) throws IOException {
        for (Server.Running server : running.values()) {
            server.close();
        }
    }

    // Extents

    private void extents() throws IOException, InterruptedException {
        DataFile file = sparse(directory.resolve("sparse"), SPARSE_BYTES);
        extents(
                "a sparse file of 1 TiB",
                file,
                List.of(ours(), Server.qemuNbd("threads"), Server.nbdkit(16)));
        List<Server> servers = List.of(ours("", QCOW2, ""), qemuNbdOfQcow2());
        DataFile wide = qcow2(file, directory.resolve("wide.qcow2"));
        Files.delete(file.path());
        extents("a qcow2 image of 1 TiB", wide, servers);
        Files.delete(wide.path());
        DataFile narrow = sparse(directory.resolve("narrow"), EXTENTS * QCOW2_STRIDE);
        DataFile dense = qcow2(narrow, directory.resolve("dense.qcow2"));
        Files.delete(narrow.path());
        extents("a qcow2 image of 12 GiB", dense, servers);
        Files.delete(dense.path());
    }

    private void extents(String title, DataFile file, List<Server> servers)
            throws IOException, InterruptedException {
        Map<Server, List<Double>> seconds = new LinkedHashMap<>();
        Map<Server, Long> requests = new LinkedHashMap<>();
        Map<Server, List<Double>> shown = new LinkedHashMap<>();
        Map<Server, Server.Running> running = start(file, servers);
        try {
            for (int round = -20; round < options.rounds(); round++) { // until it is compiled
                for (Server server : servers) {
                    try (MapClient client =
                            MapClient.connect(running.get(server).socket(), Server.EXPORT)) {
                        long begin = System.nanoTime();
                        MapClient.Walk walk = client.walk();
                        double took = (System.nanoTime() - begin) / 1e9;
                        if (walk.data() < (long) EXTENTS * EXTENT_BYTES
                                || walk.runs() < 2L * EXTENTS - 1) {
                            throw new IOException(server.title() + " has found " + walk);
                        }
                        requests.put(server, walk.requests());
                        if (round >= 0) {
                            seconds.computeIfAbsent(server, _ -> new ArrayList<>()).add(took);
                        }
                    }
                }
            }
            for (int round = 0; round < options.rounds(); round++) {
                for (Server server : servers) {
                    shown.computeIfAbsent(server, _ -> new ArrayList<>())
                            .add(nbdinfo(running.get(server).socket()));
                }
            }
        } finally {
            stop(running);
        }
        text.append("\n## Block status of " + title + " with 100,000 extents\n\n")
                .append("One client walks through all of it, one request after the other.\n\n")
                .append(
                        "| Server | ms | requests | times slower than ours | nbdinfo --map, ms |\n"
                                + "|---|---|---|---|---|\n");
        double ours = median(seconds.get(servers.getFirst()));
        for (Server server : servers) {
            double took = median(seconds.get(server));
            row(
                    "| %s | %.1f | %d | %.2f | %.1f |",
                    server.title(),
                    took * 1e3,
                    requests.get(server),
                    took / ours,
                    median(shown.get(server)) * 1e3);
        }
        verdict(
                median(seconds.get(servers.get(1))) / ours >= MAP_TARGET,
                "at least 3 times as fast as qemu-nbd");
    }

    /** Seconds that nbdinfo takes to show the map. qemu-img needs six, whatever the server. */
    private static double nbdinfo(Path socket) throws IOException, InterruptedException {
        String uri = "nbd+unix:///" + Server.EXPORT + "?socket=" + socket;
        long begin = System.nanoTime();
        run(List.of("nbdinfo", "--map", uri));
        return (System.nanoTime() - begin) / 1e9;
    }

    private static void run(List<String> command) throws IOException, InterruptedException {
        int status =
                new ProcessBuilder(command)
                        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .start()
                        .waitFor();
        if (status != 0) {
            throw new IOException(String.join(" ", command) + ": status " + status);
        }
    }

    /** Stored compressed, because only the map is of interest. */
    private static DataFile qcow2(DataFile from, Path to) throws IOException, InterruptedException {
        run(
                List.of(
                        "qemu-img",
                        "convert",
                        "-f",
                        "raw",
                        "-c",
                        "-O",
                        "qcow2",
                        from.path().toString(),
                        to.toString()));
        return new DataFile(to, from.size());
    }

    private static DataFile sparse(Path path, long size) throws IOException {
        ByteBuffer block = ByteBuffer.allocateDirect(EXTENT_BYTES);
        DataFile.fill(block);
        long stride = size / EXTENTS & -EXTENT_BYTES;
        try (var file =
                FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            for (int i = 0; i < EXTENTS; i++) {
                file.write(block.rewind(), i * stride);
            }
            file.force(true);
        }
        try (var file = new java.io.RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(size);
        }
        return new DataFile(path, size);
    }

    // Idle clients

    private void idleClients(DataFile file) throws IOException, InterruptedException {
        List<Server> servers =
                List.of(
                        ours(),
                        ours("iothread", RAW, ",iothread=t0"),
                        Server.qemuNbd("threads"),
                        Server.nbdkit(1));
        text.append("\n## 1,000 idle clients\n\n")
                .append("Connected, each after one request. CPU in the ten seconds after.\n\n")
                .append(
                        "| Server | MiB before | MiB with them | MiB more | CPU before, ms | CPU,"
                                + " ms |\n")
                .append("|---|---|---|---|---|---|\n");
        for (Server server : servers) {
            Map<Server, Server.Running> running = start(file, List.of(server));
            try {
                idleClients(server, running.get(server));
            } finally {
                stop(running);
            }
        }
    }

    private void idleClients(Server server, Server.Running running)
            throws IOException, InterruptedException {
        Duration watched = Duration.ofSeconds(options.quick() ? 2 : 10);
        Load one = Load.random(false, 1, Load.Client.PIPELINED);
        running.client(false).run(one, options.duration());
        Thread.sleep(2000); // what a start leaves to do
        long cpuBefore = cpu(running, watched);
        long before = running.residentKib();
        List<PipelinedClient> clients = new ArrayList<>();
        try {
            for (int i = 0; i < IDLE_CLIENTS; i++) {
                PipelinedClient client =
                        PipelinedClient.connect(running.socket(), Server.EXPORT, true);
                clients.add(client);
                client.run(Load.random(false, 1, Load.Client.PIPELINED_STRUCTURED), Duration.ZERO);
            }
            Thread.sleep(2000);
            long with = running.residentKib();
            long cpu = cpu(running, watched);
            row(
                    "| %s | %.1f | %.1f | %.1f | %d | %d |",
                    server.title(),
                    before / 1024.0,
                    with / 1024.0,
                    (with - before) / 1024.0,
                    cpuBefore,
                    cpu);
            if (server.family().equals(Server.BLOCKWHARF)) {
                // The clock of the kernel ticks every 10 ms
                verdict(
                        with - before <= IDLE_LIMIT_KIB && cpu <= cpuBefore + 30,
                        "ours: at most 100 MiB more, and no more CPU than without clients");
            }
        } finally {
            for (PipelinedClient client : clients) {
                client.close();
            }
        }
    }

    /** Milliseconds of CPU in a time. */
    private static long cpu(Server.Running running, Duration watched) throws InterruptedException {
        long begin = running.cpuNanos();
        Thread.sleep(watched);
        return (running.cpuNanos() - begin) / 1_000_000;
    }

    // Active clients

    private void activeClients(DataFile file) throws Exception {
        List<Server> servers = List.of(ours(), Server.nbdkit(16), Server.qemuNbd("threads"));
        text.append("\n## 64 active clients\n\n")
                .append("4 KiB random reads, in thousands a second; all processors.\n\n")
                .append(
                        "| Server | depth | 1 client | 64 clients | scaling |\n"
                                + "|---|---|---|---|---|\n");
        Map<Server, Server.Running> running = start(file, servers);
        try {
            for (int depth : new int[] {1, 16}) {
                activeClients(servers, running, depth);
            }
        } finally {
            stop(running);
        }
    }

    private void activeClients(List<Server> servers, Map<Server, Server.Running> running, int depth)
            throws Exception {
        Load load = Load.random(false, depth, Load.Client.PIPELINED);
        Map<Server, List<Double>> one = new LinkedHashMap<>();
        Map<Server, List<Double>> many = new LinkedHashMap<>();
        for (int round = -1; round < options.rounds(); round++) { // one to warm up
            for (Server server : servers) {
                double single = together(running.get(server), load, 1);
                double all = together(running.get(server), load, ACTIVE_CLIENTS);
                if (round >= 0) {
                    one.computeIfAbsent(server, _ -> new ArrayList<>()).add(single);
                    many.computeIfAbsent(server, _ -> new ArrayList<>()).add(all);
                }
            }
        }
        for (Server server : servers) {
            double single = median(one.get(server));
            double all = median(many.get(server));
            row(
                    "| %s | %d | %.1f | %.1f | %.2f |",
                    server.title(), depth, single / 1e3, all / 1e3, all / single);
        }
        verdict(
                median(many.get(servers.get(0))) >= median(many.get(servers.get(1))),
                "at depth " + depth + " ours serves 64 clients no slower than nbdkit");
    }

    /** Requests per second of several clients at once. */
    private double together(Server.Running running, Load load, int count) throws Exception {
        List<PipelinedClient> clients = new ArrayList<>();
        try (var threads = Executors.newFixedThreadPool(count)) {
            for (int i = 0; i < count; i++) {
                clients.add(PipelinedClient.connect(running.socket(), Server.EXPORT, false));
            }
            List<Callable<Sample>> runs = new ArrayList<>();
            clients.forEach(client -> runs.add(() -> client.run(load, options.duration())));
            double sum = 0;
            for (Future<Sample> run : threads.invokeAll(runs)) {
                sum += run.get().requestsPerSecond();
            }
            return sum;
        } finally {
            for (PipelinedClient client : clients) {
                client.close();
            }
        }
    }

    // Reporting

    private void row(String format, Object... values) {
        String row = String.format(Locale.ROOT, format, values);
        System.err.println(row);
        text.append(row).append('\n');
    }

    private void verdict(boolean met, String target) {
        String sentence = (met ? "Met: " : "**Not met**: ") + target + ".";
        System.err.println(sentence);
        text.append('\n').append(sentence).append('\n');
    }

    private static double median(List<Double> samples) {
        return Sample.median(samples.stream().mapToDouble(Double::doubleValue).toArray());
    }
}
