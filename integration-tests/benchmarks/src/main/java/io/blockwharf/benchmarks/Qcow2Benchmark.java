package io.blockwharf.benchmarks;

import io.blockwharf.benchmarks.Load.Client;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Compares qcow2 images over NBD with qemu-storage-daemon: clusters that are allocated and that are
 * not, with and without a backing file. Client and server share one CPU, everything is in memory.
 * Options are those of {@link Options} that make sense here.
 */
public final class Qcow2Benchmark {
    private static final long SIZE = 1L << 30;

    /** Of disks into which every write shall find an unallocated cluster. */
    private static final long SPARSE_SIZE = 64L << 30;

    /** How often the code of a server is run in before its first figure counts. */
    private static final int WARM_UPS = 3;

    /** The same where each takes an image of its own, which limits how long it can be. */
    private static final int FRESH_WARM_UPS = 6;

    private static final Duration WARM_UP = Duration.ofSeconds(1);

    /**
     * How long the daemon is loaded before its allocations count. Until the last compiler has seen
     * them, the JDK's calls of native functions allocate.
     */
    private static final Duration COMPILATION = Duration.ofSeconds(15);

    private static final double RANDOM = 3;
    private static final double SEQUENTIAL = 1.2;

    /**
     * What a row measures: where clusters are not allocated and written to, each run needs an image
     * of its own.
     */
    private record Case(String id, String title, Load load, boolean allocated, boolean backing) {
        boolean fresh() {
            return load.access().writes() && !allocated;
        }

        double target() {
            return load.access().random() ? RANDOM : SEQUENTIAL;
        }
    }

    private static List<Case> cases() {
        List<Case> all = new ArrayList<>();
        for (boolean backing : new boolean[] {false, true}) {
            for (boolean allocated : new boolean[] {true, false}) {
                for (boolean write : new boolean[] {false, true}) {
                    for (Load load :
                            List.of(
                                    Load.random(write, 16, Client.PIPELINED),
                                    Load.sequential(write, 16))) {
                        String id =
                                (allocated ? "allocated-" : "unallocated-")
                                        + (backing ? "backing-" : "")
                                        + load.access().fioName;
                        String title =
                                load.title()
                                        + ", "
                                        + (allocated ? "allocated" : "unallocated")
                                        + (backing ? ", backing file" : "");
                        all.add(new Case(id, title, load, allocated, backing));
                    }
                }
            }
        }
        return all;
    }

    private final Options options;
    private final Path disk;
    private final Path memory;
    private DataFile base;

    private Qcow2Benchmark(Options options) throws IOException {
        this.options = options;
        Files.createDirectories(options.directory());
        disk = Files.createTempDirectory(options.directory(), "qcow2");
        memory = Files.createTempDirectory(options.memoryDirectory(), "qcow2");
    }

    /** Runs it; see the script {@code run-qcow2}. */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        Options options = Options.parse(arguments);
        if (options.help()) {
            System.out.println(Options.USAGE);
            return;
        }
        var benchmark = new Qcow2Benchmark(options);
        String report;
        try {
            report = benchmark.run();
        } finally {
            delete(benchmark.disk);
            delete(benchmark.memory);
        }
        options.publish("qcow2", report);
    }

    private String run() throws IOException, InterruptedException {
        command("taskset", "-a", "-p", "-c", options.cpu(), "" + ProcessHandle.current().pid());
        base = DataFile.create(disk.resolve("base.raw"), SIZE);
        PathMatcher wanted =
                FileSystems.getDefault().getPathMatcher("glob:{" + options.rows() + "}");
        var results = new LinkedHashMap<Case, Map<String, List<Sample>>>();
        for (Case row : cases()) {
            if (wanted.matches(Path.of(row.id))) {
                results.put(row, row.fresh() ? allocating(row) : inTurns(row));
                results.get(row)
                        .forEach(
                                (server, samples) ->
                                        System.err.printf(
                                                Locale.ROOT,
                                                "%-34s %-36s %9.1f k/s%n",
                                                row.id,
                                                server,
                                                throughput(samples) / 1e3));
            }
        }
        Map<String, Double> allocations =
                wanted.matches(Path.of("allocation")) ? allocations() : Map.of();
        return report(results, allocations);
    }

    // --- Servers -----------------------------------------------------------------------------

    private record Peer(String title, String program, String iothread, String aio) {}

    private List<Peer> peers() {
        return List.of(
                new Peer(Server.BLOCKWHARF, options.blockwharf().toString(), "", ""),
                new Peer(Server.QSD + " io_uring", Server.QSD, "", ",aio=io_uring"),
                new Peer(Server.QSD + " io_uring+iothread", Server.QSD, "t0", ",aio=io_uring"),
                new Peer(Server.QSD + " threads", Server.QSD, "", ",aio=threads"));
    }

    /** A server of images, the first one as the export that every client knows. */
    private Server.Running start(Peer peer, List<Path> images, boolean backing)
            throws IOException, InterruptedException {
        var server =
                new Server(
                        peer.title,
                        "",
                        (socket, _) -> {
                            var all = new ArrayList<>(List.of(peer.program));
                            if (!peer.iothread.isEmpty()) {
                                all.addAll(List.of("--object", "iothread,id=" + peer.iothread));
                            }
                            if (backing) {
                                all.addAll(
                                        List.of(
                                                "--blockdev",
                                                "driver=file,node-name=base,read-only=on,filename="
                                                        + base.path()
                                                        + peer.aio));
                            }
                            for (int i = 0; i < images.size(); i++) {
                                all.addAll(
                                        List.of(
                                                "--blockdev",
                                                "driver=qcow2,discard=unmap,node-name="
                                                        + name(i)
                                                        + ",file.driver=file,file.filename="
                                                        + images.get(i)
                                                        + peer.aio.replace(",", ",file.")
                                                        + (backing ? ",backing=base" : "")));
                            }
                            all.addAll(
                                    List.of("--nbd-server", "addr.type=unix,addr.path=" + socket));
                            for (int i = 0; i < images.size(); i++) {
                                String thread =
                                        peer.iothread.isEmpty() ? "" : ",iothread=" + peer.iothread;
                                all.addAll(
                                        List.of(
                                                "--export",
                                                "type=nbd,writable=on,id=e"
                                                        + i
                                                        + ",node-name="
                                                        + name(i)
                                                        + thread));
                            }
                            return all;
                        });
        return server.start(disk, new Server.Service(base, false, true), options.cpu(), Map.of());
    }

    private static String name(int image) {
        return image == 0 ? Server.EXPORT : Server.EXPORT + image;
    }

    private Path image(Case row, String name) throws IOException, InterruptedException {
        Path image = (row.load.access().writes() ? memory : disk).resolve(name + ".qcow2");
        if (row.allocated) {
            command("qemu-img", "convert", "-O", "qcow2", base.path().toString(), image.toString());
            if (row.backing) {
                command(
                        "qemu-img",
                        "rebase",
                        "-u",
                        "-b",
                        base.path().toString(),
                        "-F",
                        "raw",
                        image.toString());
            }
            return image;
        }
        boolean sparse = !row.backing && row.load.access().random();
        var all = new ArrayList<>(List.of("qemu-img", "create", "-q", "-f", "qcow2"));
        if (row.backing) {
            all.addAll(List.of("-b", base.path().toString(), "-F", "raw"));
        }
        all.addAll(List.of(image.toString(), "" + (sparse ? SPARSE_SIZE : SIZE)));
        command(all.toArray(String[]::new));
        return image;
    }

    private static PipelinedClient connect(Case row, Server.Running server, int image)
            throws IOException {
        var client = PipelinedClient.connect(server.socket(), name(image), false);
        return row.allocated || row.backing ? client : client.expectingZeroes();
    }

    // --- Measuring ---------------------------------------------------------------------------

    /** All servers are up and take turns, each with one image. */
    private Map<String, List<Sample>> inTurns(Case row) throws IOException, InterruptedException {
        var samples = new LinkedHashMap<String, List<Sample>>();
        var servers = new ArrayList<Server.Running>();
        var clients = new ArrayList<PipelinedClient>();
        try {
            for (Peer peer : peers()) {
                Path image = image(row, "image" + servers.size());
                servers.add(start(peer, List.of(image), row.backing));
                clients.add(connect(row, servers.getLast(), 0));
                samples.put(peer.title, new ArrayList<>());
                for (int i = 0; i < WARM_UPS; i++) {
                    clients.getLast().run(row.load, WARM_UP);
                }
            }
            base.warm();
            for (int round = 0; round < options.rounds(); round++) {
                for (int i = 0; i < servers.size(); i++) {
                    int turn = (i + round) % servers.size();
                    String title = peers().get(turn).title;
                    samples.get(title)
                            .add(
                                    measure(
                                            servers.get(turn),
                                            clients.get(turn),
                                            row.load,
                                            options.duration()));
                }
            }
        } finally {
            stop(servers, clients);
        }
        return samples;
    }

    /**
     * One server after the other, each with an image for every run, so that each run finds clusters
     * that are not allocated. The runs are short: what they write stays in memory.
     */
    private Map<String, List<Sample>> allocating(Case row)
            throws IOException, InterruptedException {
        var samples = new LinkedHashMap<String, List<Sample>>();
        Duration duration = options.duration().dividedBy(4);
        for (Peer peer : peers()) {
            var images = new ArrayList<Path>();
            for (int i = 0; i < FRESH_WARM_UPS + options.rounds(); i++) {
                images.add(image(row, "image" + i));
            }
            var servers = new ArrayList<Server.Running>();
            var clients = new ArrayList<PipelinedClient>();
            var list = new ArrayList<Sample>();
            try {
                servers.add(start(peer, images, row.backing));
                for (int i = 0; i < images.size(); i++) {
                    clients.add(connect(row, servers.getFirst(), i));
                    boolean counts = i >= FRESH_WARM_UPS;
                    Sample sample =
                            measure(
                                    servers.getFirst(),
                                    clients.getLast(),
                                    row.load,
                                    counts || !row.load.access().random() ? duration : WARM_UP);
                    if (counts) {
                        list.add(sample);
                    }
                }
            } finally {
                stop(servers, clients);
            }
            samples.put(peer.title, list);
        }
        return samples;
    }

    private static Sample measure(
            Server.Running server, PipelinedClient client, Load load, Duration duration)
            throws IOException {
        long cpu = server.cpuNanos();
        try {
            return client.run(load, duration).withServerCpu(server.cpuNanos() - cpu);
        } catch (IOException e) {
            throw new IOException(server.server().title() + ": " + server.log(), e);
        }
    }

    private void stop(List<Server.Running> servers, List<PipelinedClient> clients)
            throws IOException {
        for (Server.Running server : servers) {
            server.close();
        }
        for (PipelinedClient client : clients) {
            client.drop();
        }
        for (Path folder : List.of(disk, memory)) {
            try (var files = Files.newDirectoryStream(folder, "*.qcow2")) {
                for (Path file : files) {
                    Files.delete(file);
                }
            }
        }
    }

    /** Bytes that the daemon allocates for one request, by load, once its code is compiled. */
    private Map<String, Double> allocations() throws IOException, InterruptedException {
        var result = new LinkedHashMap<String, Double>();
        for (Case row : cases()) {
            if (!row.allocated || row.backing) {
                continue;
            }
            var servers = new ArrayList<Server.Running>();
            var clients = new ArrayList<PipelinedClient>();
            try {
                servers.add(start(peers().getFirst(), List.of(image(row, "image")), false));
                clients.add(connect(row, servers.getFirst(), 0));
                try (var probe = AllocationProbe.attach(servers.getFirst().process().pid())) {
                    clients.getFirst().run(row.load, COMPILATION);
                    probe.reset();
                    Sample sample = clients.getFirst().run(row.load, options.duration());
                    result.put(row.title, (double) probe.bytes() / sample.requests());
                }
            } finally {
                stop(servers, clients);
            }
        }
        return result;
    }

    private static double throughput(List<Sample> samples) {
        return Sample.median(samples, Sample::requestsPerSecond);
    }

    // --- Reporting ---------------------------------------------------------------------------

    private String report(
            Map<Case, Map<String, List<Sample>>> results, Map<String, Double> allocations)
            throws IOException, InterruptedException {
        var text = new StringBuilder();
        text.append("# qcow2 over NBD\n\n")
                .append("Thousands of requests per second, medians of ")
                .append(options.rounds())
                .append(
                        " runs; in brackets the factor over the fastest qemu-storage-daemon and"
                                + " the")
                .append(" microseconds of the server's CPU for a request. One CPU for client and")
                .append(" server, 64 KiB clusters, images of 1 GiB; files that are read are in the")
                .append(" page cache, those that are written in tmpfs. Rows that allocate take a")
                .append(
                        " fresh image for each run. Nothing is flushed: copies that Blockwharf"
                                + " puts")
                .append(
                        " off until a flush are not in the rows with a backing file.\n"
                                + "Written by `run-qcow2`.\n\n");
        Machine.describe(options)
                .forEach((fact, value) -> text.append("- " + fact + ": " + value + "\n"));
        text.append("\n| Row | Load |");
        peers().forEach(peer -> text.append(' ').append(peer.title).append(" |"));
        text.append(" Target | Met |\n|---|---|")
                .append("---|".repeat(peers().size() + 2))
                .append('\n');
        results.forEach((row, samples) -> append(text, row, samples));
        if (!allocations.isEmpty()) {
            text.append("\n| Load | bytes allocated per request |\n|---|---|\n");
            allocations.forEach(
                    (load, bytes) ->
                            text.append(
                                    String.format(Locale.ROOT, "| %s | %.2f |%n", load, bytes)));
        }
        return text.toString();
    }

    private static void append(StringBuilder text, Case row, Map<String, List<Sample>> samples) {
        double qemu =
                samples.entrySet().stream()
                        .filter(each -> each.getKey().startsWith(Server.QSD))
                        .mapToDouble(each -> throughput(each.getValue()))
                        .max()
                        .orElseThrow();
        double ours = throughput(samples.get(Server.BLOCKWHARF));
        text.append("| `").append(row.id).append("` | ").append(row.title).append(" |");
        samples.forEach(
                (_, list) ->
                        text.append(
                                String.format(
                                        Locale.ROOT,
                                        " %.1f (%.2f×, %.1f) |",
                                        throughput(list) / 1e3,
                                        throughput(list) / qemu,
                                        Sample.median(list, Sample::serverCpuMicros))));
        text.append(
                String.format(
                        Locale.ROOT,
                        " %.1f× | %s |%n",
                        row.target(),
                        ours >= row.target() * qemu ? "yes" : "no"));
    }

    private static void command(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException(String.join(" ", command) + ": " + output);
        }
    }

    private static void delete(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            for (Path file : files.toList()) {
                Files.delete(file);
            }
        }
        Files.delete(folder);
    }
}
