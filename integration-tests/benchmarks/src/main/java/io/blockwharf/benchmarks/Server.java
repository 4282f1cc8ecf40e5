package io.blockwharf.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * A server program in one configuration, and how to start it.
 *
 * @param family the program; targets of the report name it
 * @param variant what distinguishes this configuration from the others of the program, may be empty
 */
record Server(String family, String variant, CommandLine commandLine) {
    static final String BLOCKWHARF = "blockwharf";
    static final String QSD = "qemu-storage-daemon";
    static final String QEMU_NBD = "qemu-nbd";
    static final String NBDKIT = "nbdkit";
    static final String REFERENCE = "reference";

    /** The name of the export, the same for every server that cares. */
    static final String EXPORT = "disk";

    /**
     * What a server serves.
     *
     * @param direct bypassing the page cache
     */
    record Service(DataFile file, boolean direct, boolean writable) {}

    /** How a server is told what to serve, and where. */
    @FunctionalInterface
    interface CommandLine {
        List<String> of(Path socket, Service service);
    }

    String title() {
        return variant.isEmpty() ? family : family + " " + variant;
    }

    /**
     * @param program path of bin/blockwharf
     * @param aio threads or io_uring, empty for the daemon's default
     */
    static Server blockwharf(Path program, String aio) {
        return new Server(
                BLOCKWHARF,
                aio,
                (socket, service) -> daemon(program.toString(), aio, "", "", socket, service));
    }

    /** QEMU's storage daemon, the export in an iothread of its own or in the main loop. */
    static Server qemuStorageDaemon(String aio, boolean iothread) {
        // The file is not locked, because others serve it at the same time; it costs nothing per
        // request.
        return new Server(
                QSD,
                aio + (iothread ? "+iothread" : ""),
                (socket, service) ->
                        daemon(QSD, aio, ",locking=off", iothread ? "t0" : "", socket, service));
    }

    private static List<String> daemon(
            String program,
            String aio,
            String fileOptions,
            String iothread,
            Path socket,
            Service service) {
        var command = new ArrayList<String>();
        command.add(program);
        if (!iothread.isEmpty()) {
            command.addAll(List.of("--object", "iothread,id=" + iothread));
        }
        command.addAll(
                List.of(
                        "--blockdev",
                        "driver=file,node-name="
                                + EXPORT
                                + ",filename="
                                + service.file().path()
                                + (aio.isEmpty() ? "" : ",aio=" + aio)
                                + (service.direct() ? ",cache.direct=on" : "")
                                + (service.writable() ? "" : ",read-only=on")
                                + fileOptions,
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket,
                        "--export",
                        "type=nbd,id=e,node-name="
                                + EXPORT
                                + ",writable="
                                + (service.writable() ? "on" : "off")
                                + (iothread.isEmpty() ? "" : ",iothread=" + iothread)));
        return command;
    }

    static Server qemuNbd(String aio) {
        return new Server(
                QEMU_NBD,
                aio,
                (socket, service) ->
                        List.of(
                                QEMU_NBD,
                                service.writable() ? "--discard=unmap" : "--read-only",
                                "--persistent",
                                "--shared=0",
                                "--socket=" + socket,
                                "--export-name=" + EXPORT,
                                "--image-opts",
                                "driver=file,locking=off,filename="
                                        + service.file().path()
                                        + ",aio="
                                        + aio
                                        + (service.direct() ? ",cache.direct=on" : "")));
    }

    /** nbdkit's file plugin, which has no direct I/O. */
    static Server nbdkit(int threads) {
        return new Server(
                NBDKIT,
                "threads=" + threads,
                (socket, service) -> {
                    if (service.direct()) {
                        throw new IllegalArgumentException(
                                "nbdkit's file plugin has no direct I/O");
                    }
                    return List.of(
                            NBDKIT,
                            "--foreground",
                            "--exportname=" + EXPORT,
                            "--threads=" + threads,
                            "--unix=" + socket,
                            service.writable() ? "--newstyle" : "--readonly",
                            "file",
                            service.file().path().toString());
                });
    }

    /**
     * {@link ReferenceServer} in a virtual machine of its own.
     *
     * @param disk whether it serves the file, or makes everything up
     */
    static Server reference(boolean disk) {
        return new Server(
                REFERENCE,
                disk ? "plain calls" : "no disk",
                (socket, service) -> {
                    var command =
                            new ArrayList<>(
                                    List.of(
                                            Path.of(System.getProperty("java.home"), "bin", "java")
                                                    .toString(),
                                            "-XX:+UseSerialGC",
                                            "-cp",
                                            System.getProperty("java.class.path"),
                                            ReferenceServer.class.getName(),
                                            socket.toString(),
                                            Long.toString(service.file().size())));
                    if (disk) {
                        command.add(service.file().path().toString());
                    }
                    return command;
                });
    }

    /**
     * Starts the server and waits until it greets a client.
     *
     * @param cpus CPU list as taskset takes it
     * @param environment variables added to this process's
     */
    Running start(Path directory, Service service, String cpus, Map<String, String> environment)
            throws IOException, InterruptedException {
        // Not under the checkout: the path of a unix socket has 107 bytes at most.
        Path socket = Files.createTempDirectory("bench").resolve("nbd.sock");
        Path log = socket.resolveSibling("log");
        var command = new ArrayList<>(List.of("taskset", "-c", cpus));
        command.addAll(commandLine.of(socket, service));
        var builder =
                new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
        builder.environment().putAll(environment);
        long start = System.nanoTime();
        Process process = builder.start();
        while (true) {
            PipelinedClient client;
            try {
                client = PipelinedClient.connect(socket, EXPORT, false);
            } catch (IOException notYet) {
                if (!process.isAlive()
                        || System.nanoTime() - start > Duration.ofSeconds(30).toNanos()) {
                    process.destroyForcibly();
                    throw new IOException(
                            title()
                                    + " does not serve: "
                                    + String.join(" ", command)
                                    + "\n"
                                    + Files.readString(log),
                            notYet);
                }
                Thread.sleep(2); // shares the CPU with what it waits for
                continue;
            }
            long ready = System.nanoTime() - start;
            return new Running(this, process, socket, ready, new HashMap<>(Map.of(false, client)));
        }
    }

    /**
     * A started server.
     *
     * @param readyNanos from its start until a client has negotiated the export
     * @param clients the connections to it, by whether they use structured replies. They stay open
     *     as long as the server runs, because qemu-storage-daemon 7.2.22 aborts when a client of an
     *     export in an iothread leaves.
     */
    record Running(
            Server server,
            Process process,
            Path socket,
            long readyNanos,
            Map<Boolean, PipelinedClient> clients)
            implements AutoCloseable {

        PipelinedClient client(boolean structured) throws IOException {
            PipelinedClient client = clients.get(structured);
            if (client == null) {
                client = PipelinedClient.connect(socket, EXPORT, structured);
                clients.put(structured, client);
            }
            return client;
        }

        void disconnect() throws IOException {
            for (PipelinedClient client : clients.values()) {
                client.close();
            }
            clients.clear();
        }

        /**
         * User and system time of all threads, also those that ended; the kernel rounds it to 10
         * ms.
         */
        long cpuNanos() {
            return ProcFile.cpuNanos(read("stat"));
        }

        long storageBytesRead() {
            return ProcFile.storageBytesRead(read("io"));
        }

        long residentKib() {
            return ProcFile.residentKib(read("status"));
        }

        /** What the server has printed. */
        String log() throws IOException {
            return Files.readString(socket.resolveSibling("log"));
        }

        private String read(String name) {
            try {
                return Files.readString(Path.of("/proc", Long.toString(process.pid()), name));
            } catch (IOException e) {
                throw new UncheckedIOException(server.title() + " has ended", e);
            }
        }

        /** Ends the server in order, or by force after ten seconds. */
        @Override
        public void close() throws IOException {
            process.destroy();
            try {
                if (!process.waitFor(10, TimeUnit.SECONDS)) {
                    process.destroyForcibly().waitFor();
                }
            } catch (InterruptedException e) {
                process.destroyForcibly();
                Thread.currentThread().interrupt();
            }
            for (PipelinedClient client : clients.values()) {
                client.drop();
            }
            Files.deleteIfExists(socket);
            Files.deleteIfExists(socket.resolveSibling("log"));
            Files.deleteIfExists(socket.getParent());
        }
    }
}
