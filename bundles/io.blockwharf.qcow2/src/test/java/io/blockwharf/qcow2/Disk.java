package io.blockwharf.qcow2;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.OpenFlags;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** An image that a test has opened, with its file, and bytes instead of segments. */
final class Disk implements AutoCloseable {
    static final Qcow2Options PLAIN = options(Map.of());

    final Qcow2Image image;
    final List<String> complaints = new ArrayList<>();
    private final List<AutoCloseable> children = new ArrayList<>();

    private Disk(Map<String, BlockNode> nodes, boolean writable, Qcow2Options options) {
        children.addAll(nodes.values());
        OpenFlags flags = new OpenFlags(!writable, false, false, true, false, false);
        try {
            image =
                    new Qcow2Image(
                            new NodeSpec<>("node0", options, flags, nodes),
                            new Qcow2Image.Listener() {
                                @Override
                                public void corrupted(String node, String why, boolean fatal) {
                                    complaints.add(why);
                                }

                                @Override
                                public void closedBadly(String node, BlockIoException why) {
                                    throw new AssertionError(why);
                                }
                            });
        } catch (RuntimeException | Error e) {
            nodes.values().forEach(BlockNode::close);
            throw e;
        }
    }

    static Disk open(Path path, boolean writable) throws IOException {
        return open(path, writable, PLAIN, Map.of());
    }

    static Disk open(
            Path path, boolean writable, Qcow2Options options, Map<String, BlockNode> others)
            throws IOException {
        Map<String, BlockNode> nodes = new HashMap<>(others);
        nodes.put("file", new DiskFile(path, writable));
        return new Disk(nodes, writable, options);
    }

    /** An image in a file of the test's own. */
    static Disk openOn(BlockNode file, Map<String, BlockNode> others, Qcow2Options options) {
        Map<String, BlockNode> nodes = new HashMap<>(others);
        nodes.put("file", file);
        return new Disk(nodes, true, options);
    }

    /** Options: {@code l2-cache-size}, {@code l2-cache-entry-size}, {@code refcount-cache-size}. */
    static Qcow2Options options(Map<String, Long> sizes) {
        return options(sizes, Optional.empty());
    }

    static Qcow2Options options(Map<String, Long> sizes, Optional<String> snapshot) {
        return new Qcow2Options(
                new BlockdevRef.Reference("file0"),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.ofNullable(sizes.get("cache-size")),
                Optional.ofNullable(sizes.get("l2-cache-size")),
                Optional.ofNullable(sizes.get("l2-cache-entry-size")),
                Optional.ofNullable(sizes.get("refcount-cache-size")),
                Optional.empty(),
                Optional.empty(),
                snapshot);
    }

    byte[] read(long offset, int bytes) throws BlockIoException {
        MemorySegment memory = Arena.ofAuto().allocate(Math.max(1, bytes), 4096);
        image.read(offset, new IoVector(Arena.ofAuto(), 1).set(memory, 0, bytes));
        return memory.asSlice(0, bytes).toArray(JAVA_BYTE);
    }

    static IoVector vector(byte[] data) {
        MemorySegment memory = Arena.ofAuto().allocate(data.length, 4096);
        memory.copyFrom(MemorySegment.ofArray(data));
        return new IoVector(Arena.ofAuto(), 1).set(memory, 0, data.length);
    }

    void write(long offset, byte[] data) throws BlockIoException {
        image.write(offset, vector(data), 0);
    }

    static byte[] filled(int bytes, int value) {
        byte[] data = new byte[bytes];
        Arrays.fill(data, (byte) value);
        return data;
    }

    @Override
    public void close() {
        image.close();
        abandon();
    }

    /** Closes the files and nothing else, as a crash does. */
    void abandon() {
        children.forEach(
                child -> {
                    try {
                        child.close();
                    } catch (Exception e) {
                        throw new AssertionError(e);
                    }
                });
    }

    // --- Programs ----------------------------------------------------------------------------

    /** What a program printed, and its exit status. */
    record Outcome(int status, String output) {
        String ok() {
            if (status != 0) {
                throw new AssertionError("status " + status + ": " + output);
            }
            return output;
        }
    }

    static Outcome run(String... command) throws IOException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Outcome(process.onExit().join().exitValue(), output);
    }

    /** Creates an image with qemu-img. */
    static Path create(Path path, String size, String... options) throws IOException {
        List<String> command = new ArrayList<>(List.of("qemu-img", "create", "-q", "-f", "qcow2"));
        command.addAll(List.of(options));
        command.addAll(List.of(path.toString(), size));
        run(command.toArray(String[]::new)).ok();
        return path;
    }

    /** Lets qemu-img look for errors; leaked clusters are none if {@code leaks} are allowed. */
    static void check(Path path, boolean leaks) throws IOException {
        Outcome outcome = run("qemu-img", "check", "-f", "qcow2", path.toString());
        if (outcome.status() != 0 && !(leaks && outcome.status() == 3)) {
            throw new AssertionError("qemu-img check: " + outcome);
        }
    }
}
