package io.blockwharf.benchmarks;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
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
 * Compares NBD through TLS 1.3 with qemu-nbd and nbdkit: nbdcopy reads an image in memory, all
 * servers are up at once and take turns. Options are those of {@link Options} that make sense here;
 * the script {@code run-tls} makes the credentials.
 */
public final class TlsBenchmark {
    private static final int IMAGE_MIB = 1024;
    private static final int REQUEST_BYTES = 256 << 10;
    private static final String BLOCKWHARF = "Blockwharf";
    private static final String QEMU = "qemu-nbd";

    /** What issue 3 asks for, against qemu-nbd with certificates. */
    private static final double TARGET = 1.5;

    /** How both ends prove who they are. */
    private enum Credentials {
        X509("certificates"),
        PSK("shared key");

        private final String title;

        Credentials(String title) {
            this.title = title;
        }
    }

    private record Load(Credentials credentials, int connections) {
        String title() {
            return "%s, %d %s"
                    .formatted(
                            credentials.title,
                            connections,
                            connections == 1 ? "connection" : "connections");
        }
    }

    private static final List<Load> LOADS =
            List.of(
                    new Load(Credentials.X509, 1),
                    new Load(Credentials.X509, 4),
                    new Load(Credentials.PSK, 1),
                    new Load(Credentials.PSK, 4));

    private record Server(String title, Credentials credentials, int port, Process process) {}

    /**
     * @param clientBusy the part of the time in which the client had the CPU; more than 1 if it has
     *     several threads
     */
    private record Copy(double mibPerSecond, double serverCpuMillisPerGib, double clientBusy) {}

    private final Options options;
    private final Path keys = Path.of(System.getProperty("blockwharf.benchmarks.keys"));
    private final Path directory;
    private final Path image;
    private final List<Server> servers = new ArrayList<>();

    private TlsBenchmark(Options options) throws IOException {
        this.options = options;
        directory = Files.createTempDirectory(options.memoryDirectory(), "tls");
        image = directory.resolve("image");
    }

    /** Runs it; see the script {@code run-tls}. */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        Options options = Options.parse(arguments);
        if (options.help()) {
            System.out.println(Options.USAGE);
            return;
        }
        var benchmark = new TlsBenchmark(options);
        String report;
        try {
            benchmark.start();
            report = benchmark.report(benchmark.measure());
        } finally {
            benchmark.stop();
        }
        options.publish("tls", report);
    }

    // Servers

    private void start() throws IOException, InterruptedException {
        run(List.of("dd", "if=/dev/urandom", "of=" + image, "bs=1M", "count=" + IMAGE_MIB));
        for (Credentials credentials : Credentials.values()) {
            String object =
                    "tls-creds-%s,id=t,endpoint=server,dir=%s"
                            .formatted(credentials.name().toLowerCase(Locale.ROOT), keys);
            int port = freePort();
            serve(
                    BLOCKWHARF,
                    credentials,
                    port,
                    options.blockwharf().toString(),
                    "--object",
                    object,
                    "--blockdev",
                    "driver=file,node-name=disk,read-only=on,filename=" + image,
                    "--nbd-server",
                    "addr.type=inet,addr.host=127.0.0.1,tls-creds=t,addr.port=" + port,
                    "--export",
                    "nbd,id=e,node-name=disk");
            port = freePort();
            serve(
                    QEMU,
                    credentials,
                    port,
                    "qemu-nbd",
                    "--read-only",
                    "--persistent",
                    "--shared=0",
                    "--bind=127.0.0.1",
                    "--port=" + port,
                    "--object",
                    object,
                    "--tls-creds=t",
                    "--export-name=disk",
                    "--format=raw",
                    image.toString());
            port = freePort();
            serve(
                    "nbdkit",
                    credentials,
                    port,
                    "nbdkit",
                    "--foreground",
                    "--readonly",
                    "--tls=require",
                    credentials == Credentials.X509
                            ? "--tls-certificates=" + keys
                            : "--tls-psk=" + keys.resolve("keys.psk"),
                    "--ipaddr=127.0.0.1",
                    "--port=" + port,
                    "file",
                    image.toString());
        }
    }

    private void serve(String title, Credentials credentials, int port, String... command)
            throws IOException, InterruptedException {
        Process process =
                new ProcessBuilder(command)
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                        .start();
        servers.add(new Server(title, credentials, port, process));
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (true) {
            try (var _ = new Socket(InetAddress.getLoopbackAddress(), port)) {
                return;
            } catch (IOException e) {
                if (!process.isAlive() || System.nanoTime() > deadline) {
                    throw new IOException(title + " does not start", e);
                }
            }
            Thread.sleep(20);
        }
    }

    private static int freePort() throws IOException {
        try (var socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    private void stop() throws IOException, InterruptedException {
        for (Server server : servers) {
            server.process.destroy();
            server.process.waitFor(30, TimeUnit.SECONDS);
        }
        Files.deleteIfExists(image);
        Files.delete(directory);
    }

    // Measuring

    private Map<Load, Map<Server, List<Copy>>> measure() throws IOException, InterruptedException {
        for (Server server : servers) { // until what is hot is compiled
            for (int i = 0; i < (server.title.equals(BLOCKWHARF) ? 6 : 1); i++) {
                copy(server, new Load(server.credentials, 1));
            }
        }
        var results = new LinkedHashMap<Load, Map<Server, List<Copy>>>();
        for (Load load : LOADS) {
            List<Server> measured =
                    servers.stream().filter(s -> s.credentials == load.credentials).toList();
            var row = new LinkedHashMap<Server, List<Copy>>();
            measured.forEach(server -> row.put(server, new ArrayList<>()));
            for (int round = 0; round < options.rounds(); round++) {
                for (int i = 0; i < measured.size(); i++) {
                    Server server = measured.get((i + round) % measured.size());
                    row.get(server).add(copy(server, load));
                }
            }
            results.put(load, row);
            row.forEach(
                    (server, copies) ->
                            System.err.printf(
                                    Locale.ROOT,
                                    "%-30s %-12s %8.0f MiB/s %6.0f ms CPU/GiB%n",
                                    load.title(),
                                    server.title,
                                    median(copies, Copy::mibPerSecond),
                                    median(copies, Copy::serverCpuMillisPerGib)));
        }
        return results;
    }

    /** Reads the image once. */
    private Copy copy(Server server, Load load) throws IOException, InterruptedException {
        String uri =
                load.credentials == Credentials.X509
                        ? "nbds://localhost:%d/disk?tls-certificates=%s"
                                .formatted(server.port, keys)
                        : "nbds://alice@localhost:%d/disk?tls-psk-file=%s"
                                .formatted(server.port, keys.resolve("keys.psk"));
        long cpu = cpuNanos(server);
        long start = System.nanoTime();
        String times =
                run(
                        List.of(
                                "sh",
                                "-c",
                                "\"$@\" && times",
                                "sh",
                                "nbdcopy",
                                "--connections=" + load.connections,
                                "--requests=16",
                                "--request-size=" + REQUEST_BYTES,
                                uri,
                                "null:"));
        long nanos = System.nanoTime() - start;
        return new Copy(
                IMAGE_MIB / (nanos / 1e9),
                (cpuNanos(server) - cpu) / 1e6 / IMAGE_MIB * 1024,
                childrensSeconds(times) / (nanos / 1e9));
    }

    /** What the shell's {@code times} says of its children in its second line: {@code 0m0.25s}. */
    private static double childrensSeconds(String times) {
        double seconds = 0;
        for (String each : times.strip().lines().skip(1).findFirst().orElseThrow().split(" ")) {
            int minute = each.indexOf('m');
            seconds +=
                    60 * Double.parseDouble(each.substring(0, minute))
                            + Double.parseDouble(each.substring(minute + 1, each.length() - 1));
        }
        return seconds;
    }

    private static long cpuNanos(Server server) throws IOException {
        return ProcFile.cpuNanos(
                Files.readString(Path.of("/proc", Long.toString(server.process.pid()), "stat")));
    }

    private static String run(List<String> command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        byte[] output = process.getInputStream().readAllBytes();
        if (process.waitFor() != 0) {
            throw new IOException(String.join(" ", command) + ": " + new String(output));
        }
        return new String(output);
    }

    private static double median(List<Copy> copies, ToDoubleFunction<Copy> figure) {
        return Sample.median(copies.stream().mapToDouble(figure).toArray());
    }

    // Reporting

    private String report(Map<Load, Map<Server, List<Copy>>> results)
            throws IOException, InterruptedException {
        var text = new StringBuilder();
        text.append("# NBD through TLS 1.3\n\nWritten by `run-tls`: nbdcopy reads an image of ")
                .append(IMAGE_MIB)
                .append(" MiB in memory over TCP to this host, requests of 256 KiB, 16 in flight;")
                .append(" medians of ")
                .append(options.rounds())
                .append(" interleaved runs, all processors. The client decrypts as much as the")
                .append(
                        " server encrypts, and on this machine competes with it: where it has a"
                                + " CPU")
                .append(" for itself all the time, no server can be faster, and the server's own")
                .append(" CPU time is the better measure.\n\n");
        Machine.describe(options)
                .forEach((fact, value) -> text.append("- " + fact + ": " + value + "\n"));
        results.forEach((load, row) -> append(text, load, row));
        return text.toString();
    }

    private static void append(StringBuilder text, Load load, Map<Server, List<Copy>> row) {
        text.append("\n## ")
                .append(load.title())
                .append("\n\n| server | MiB/s | Blockwharf is | server CPU ms/GiB | Blockwharf")
                .append(" needs | client's CPU |\n|---|--:|--:|--:|--:|--:|\n");
        Copy ours = medians(row, BLOCKWHARF);
        row.keySet()
                .forEach(
                        server -> {
                            Copy each = medians(row, server.title);
                            text.append(
                                    "| %s | %.0f | %.2f× | %.0f | %.2f× | %.0f %% |%n"
                                            .formatted(
                                                    server.title,
                                                    each.mibPerSecond,
                                                    ours.mibPerSecond / each.mibPerSecond,
                                                    each.serverCpuMillisPerGib,
                                                    ours.serverCpuMillisPerGib
                                                            / each.serverCpuMillisPerGib,
                                                    100 * each.clientBusy));
                        });
        if (load.credentials == Credentials.X509) {
            double factor = ours.mibPerSecond / medians(row, QEMU).mibPerSecond;
            text.append(
                    "%nTarget: %.1f× qemu-nbd: %s (%.2f×)%n"
                            .formatted(TARGET, factor >= TARGET ? "met" : "**missed**", factor));
        }
    }

    private static Copy medians(Map<Server, List<Copy>> row, String title) {
        List<Copy> copies =
                row.entrySet().stream()
                        .filter(entry -> entry.getKey().title.equals(title))
                        .findFirst()
                        .orElseThrow()
                        .getValue();
        return new Copy(
                median(copies, Copy::mibPerSecond),
                median(copies, Copy::serverCpuMillisPerGib),
                median(copies, Copy::clientBusy));
    }
}
