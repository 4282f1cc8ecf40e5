package io.blockwharf.benchmarks;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * A virtio driver in a process of its own, connected to one server until it is closed: {@code
 * src/main/c/virtio-load.c}.
 */
final class VirtioLoad implements AutoCloseable {
    private final Process process;
    private final Writer commands;
    private final BufferedReader answers;

    private VirtioLoad(Process process) {
        this.process = process;
        commands = process.outputWriter();
        answers = process.inputReader();
    }

    /**
     * Connects to a server.
     *
     * @param program the compiled driver
     * @param cpu on which it runs
     */
    static VirtioLoad connect(Path program, String cpu, int queues, Path socket)
            throws IOException {
        return start(program, cpu, List.of(socket.toString()), List.of(Integer.toString(queues)));
    }

    /** Serves a file with the least that a server could do, on the driver's CPU or another. */
    static VirtioLoad limit(Path program, String cpu, int queues, Path file, String serverCpu)
            throws IOException {
        List<String> arguments = List.of("--limit", file.toString());
        return start(
                program,
                cpu,
                arguments,
                serverCpu.equals(cpu)
                        ? List.of(Integer.toString(queues))
                        : List.of(Integer.toString(queues), serverCpu));
    }

    private static VirtioLoad start(
            Path program, String cpu, List<String> server, List<String> queues) throws IOException {
        var command = new ArrayList<>(List.of("taskset", "-c", cpu, program.toString()));
        command.addAll(server);
        command.addAll(queues);
        return new VirtioLoad(
                new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start());
    }

    /** Keeps requests of 4 KiB at random places in flight on each queue, and reports. */
    Sample run(boolean write, int depth, Duration duration) throws IOException {
        commands.write(
                "%s %d %d%n".formatted(write ? "write" : "read", depth, duration.toMillis()));
        commands.flush();
        String answer = answers.readLine();
        if (answer == null) {
            throw new IOException("the driver has ended");
        }
        return parse(answer);
    }

    /** The driver's line: requests, nanoseconds, CPU time of driver and server, latencies. */
    static Sample parse(String answer) {
        long[] figures = Arrays.stream(answer.split(" ")).mapToLong(Long::parseLong).toArray();
        return new Sample(
                figures[0], figures[1], figures[3], figures[2], figures[4], figures[5], figures[6]);
    }

    /** Disconnects. Returns when the server may accept the next driver. */
    @Override
    public void close() throws IOException {
        commands.close();
        try {
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
        answers.close();
    }
}
