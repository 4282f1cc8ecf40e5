package io.blockwharf.it;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;
import static org.ops4j.pax.exam.CoreOptions.frameworkProperty;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportDriver;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpEvent;
import io.blockwharf.api.qmp.QmpEventListener;
import io.blockwharf.api.qmp.QmpException;

import org.junit.After;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.ops4j.pax.exam.Configuration;
import org.ops4j.pax.exam.Option;
import org.ops4j.pax.exam.junit.PaxExam;
import org.ops4j.pax.exam.spi.reactors.ExamReactorStrategy;
import org.ops4j.pax.exam.spi.reactors.PerClass;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.ServiceRegistration;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ByteChannel;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.channels.SeekableByteChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Hashtable;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

import javax.inject.Inject;

/** The contract of an export driver: what holds for every type, in the same words. */
@RunWith(PaxExam.class)
@ExamReactorStrategy(PerClass.class)
public class ExportContractIT {
    private static final long SECONDS = 30;

    @Inject BundleContext context;
    @Inject QmpDispatcher dispatcher;

    private final BlockingQueue<String> events = new LinkedBlockingQueue<>();
    private ServiceRegistration<?> listener;
    private Path dir;

    @Configuration
    public Option[] configuration() {
        return new Option[] {
            Distribution.runSet("bundles", "drivers"),
            frameworkProperty("CONFIG_FUSE").value("y"),
            frameworkProperty("CONFIG_VHOST_USER_BLK_SERVER").value("y"),
        };
    }

    /** Options of a type that comes and goes. */
    public record FleetingOptions(boolean fleeting) {}

    private static final class Fleeting implements BlockExportDriver<FleetingOptions>, BlockExport {
        private final CompletableFuture<Void> closed = new CompletableFuture<>();

        @Override
        public BlockExport open(ExportSpec<FleetingOptions> spec) {
            assertTrue(spec.options().fleeting());
            return this;
        }

        @Override
        public boolean inUse() {
            return false;
        }

        @Override
        public void requestShutdown() {
            closed.complete(null);
        }

        @Override
        public CompletionStage<Void> closed() {
            return closed;
        }
    }

    /**
     * What the schema has, and what the check of the arguments takes, can be used: never is a type
     * known and its driver not found, however close to its coming and going it is asked for.
     */
    @Test
    public void aTypeThatIsKnownIsUsableAtOnce() throws Exception {
        Map<String, Object> add =
                Map.of("type", "fleeting", "id", "f", "node-name", "disk", "fleeting", true);
        AtomicBoolean ended = new AtomicBoolean();
        AtomicInteger added = new AtomicInteger();
        CompletableFuture<Set<String>> answers = new CompletableFuture<>();
        Thread asker =
                Thread.ofPlatform()
                        .start(
                                () -> {
                                    Set<String> failures = new TreeSet<>();
                                    while (!ended.get()) {
                                        try {
                                            dispatcher.execute("block-export-add", add);
                                            added.incrementAndGet();
                                        } catch (QmpException e) {
                                            failures.add(e.getMessage());
                                        }
                                    }
                                    answers.complete(failures);
                                });
        for (int i = 0; i < 300; i++) {
            int before = added.get();
            ServiceRegistration<?> driver =
                    context.registerService(
                            BlockExportDriver.class,
                            new Fleeting(),
                            new Hashtable<>(Map.of("export.type", "fleeting")));
            long deadline = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
            while (added.get() == before && System.nanoTime() < deadline) {
                Thread.yield();
            }
            assertTrue("round " + i, added.get() > before);
            driver.unregister();
        }
        ended.set(true);
        asker.join();
        Set<String> unexpected = answers.get();
        unexpected.remove("Parameter 'type' does not accept value 'fleeting'");
        unexpected.remove("Block export id 'f' is already in use");
        assertEquals(Set.of(), unexpected);
        events.clear();
    }

    /** What a type needs to be tested. */
    private interface Subject {
        String type();

        String bundle();

        /** The type's own members of block-export-add. */
        Map<String, Object> options();

        /** A client of the export, attached. */
        ByteChannel attach() throws IOException;
    }

    @Before
    public void node() throws IOException {
        dir = Files.createTempDirectory("contract");
        listener =
                context.registerService(
                        QmpEventListener.class,
                        (QmpEvent event) -> events.add(event.name() + " " + event.data()),
                        null);
        Path disk = Files.write(dir.resolve("disk"), new byte[1 << 16]);
        execute(
                "blockdev-add",
                Map.of("driver", "file", "node-name", "disk", "filename", disk.toString()));
    }

    @After
    public void noNode() {
        execute("blockdev-del", Map.of("node-name", "disk"));
        listener.unregister();
    }

    @Test
    public void nbd() throws Exception {
        Path socket = dir.resolve("nbd");
        Map<String, Object> server =
                Map.of("addr", Map.of("type", "unix", "data", Map.of("path", socket.toString())));
        execute("nbd-server-start", server);
        contract(
                new Subject() {
                    @Override
                    public String type() {
                        return "nbd";
                    }

                    @Override
                    public String bundle() {
                        return "io.blockwharf.nbd";
                    }

                    @Override
                    public Map<String, Object> options() {
                        return Map.of("name", "x");
                    }

                    /** proto.md, "Fixed newstyle negotiation", NBD_OPT_EXPORT_NAME. */
                    @Override
                    public ByteChannel attach() throws IOException {
                        SocketChannel channel = connect(socket);
                        DataInputStream in = new DataInputStream(Channels.newInputStream(channel));
                        DataOutputStream out =
                                new DataOutputStream(Channels.newOutputStream(channel));
                        in.readFully(new byte[18]);
                        out.write(
                                ByteBuffer.allocate(21)
                                        .putInt(3)
                                        .put("IHAVEOPT".getBytes(StandardCharsets.US_ASCII))
                                        .putInt(1)
                                        .putInt(1)
                                        .put((byte) 'x')
                                        .array());
                        assertEquals(1 << 16, in.readLong());
                        in.readUnsignedShort();
                        return channel;
                    }
                });
    }

    @Test
    public void vhostUserBlk() throws Exception {
        Path socket = dir.resolve("vhost");
        contract(
                new Subject() {
                    @Override
                    public String type() {
                        return "vhost-user-blk";
                    }

                    @Override
                    public String bundle() {
                        return "io.blockwharf.vhostuser";
                    }

                    @Override
                    public Map<String, Object> options() {
                        return Map.of("addr", Map.of("type", "unix", "path", socket.toString()));
                    }

                    /** vhost-user, "Header": VHOST_USER_GET_FEATURES is answered with 8 bytes. */
                    @Override
                    public ByteChannel attach() throws IOException {
                        SocketChannel channel = connect(socket);
                        ByteBuffer request = ByteBuffer.allocate(12).order(ByteOrder.nativeOrder());
                        channel.write(request.putInt(1).putInt(1).putInt(0).flip());
                        new DataInputStream(Channels.newInputStream(channel))
                                .readFully(new byte[20]);
                        return channel;
                    }
                });
    }

    @Test
    public void fuse() throws Exception {
        Path file = Files.createFile(dir.resolve("fuse"));
        contract(
                new Subject() {
                    @Override
                    public String type() {
                        return "fuse";
                    }

                    @Override
                    public String bundle() {
                        return "io.blockwharf.fuse";
                    }

                    @Override
                    public Map<String, Object> options() {
                        return Map.of("mountpoint", file.toString());
                    }

                    @Override
                    public ByteChannel attach() throws IOException {
                        FileChannel channel = FileChannel.open(file);
                        assertEquals(1 << 16, channel.size());
                        return channel;
                    }
                });
    }

    private void contract(Subject subject) throws Exception {
        aFailedOpenLeavesNothingBehind(subject);
        anIdIsThereOnce(subject);
        safeRemovalRefusesWhileAClientIsAttached(subject);
        hardRemovalDisconnects(subject);
        stoppingTheBundleDrains(subject);
        assertEquals(null, events.poll());
    }

    private void aFailedOpenLeavesNothingBehind(Subject subject) {
        assertEquals(
                "Cannot find device='' nor node-name='nowhere'",
                refusal(subject, "node-name", "nowhere"));
        assertEquals("Parameter 'bogus' is unexpected", refusal(subject, "bogus", "x"));
        assertEquals("Invalid block export id", refusal(subject, "id", "-"));
        assertEquals(List.of(), execute("query-block-exports", Map.of()));
    }

    private void anIdIsThereOnce(Subject subject) throws Exception {
        add(subject);
        assertEquals("Block export id 'e' is already in use", refusal(subject, "id", "e"));
        assertEquals(
                List.of(
                        Map.of(
                                "id",
                                "e",
                                "type",
                                subject.type(),
                                "node-name",
                                "disk",
                                "shutting-down",
                                false)),
                execute("query-block-exports", Map.of()));
        remove("safe");
        assertDeleted();
    }

    private void safeRemovalRefusesWhileAClientIsAttached(Subject subject) throws Exception {
        add(subject);
        try (ByteChannel client = subject.attach()) {
            assertEquals(
                    "export 'e' still in use",
                    assertThrows(QmpException.class, () -> remove("safe")).getMessage());
            assertTrue(client.isOpen());
        }
        remove("hard");
        assertDeleted();
    }

    private void hardRemovalDisconnects(Subject subject) throws Exception {
        add(subject);
        ByteChannel client = subject.attach();
        remove("hard");
        assertDeleted();
        assertDisconnected(client);
    }

    private void stoppingTheBundleDrains(Subject subject) throws Exception {
        Bundle bundle =
                Arrays.stream(context.getBundles())
                        .filter(b -> subject.bundle().equals(b.getSymbolicName()))
                        .findFirst()
                        .orElseThrow();
        add(subject);
        ByteChannel client = subject.attach();
        bundle.stop();
        assertDeleted();
        assertDisconnected(client);
        assertEquals(
                "Parameter 'type' does not accept value '" + subject.type() + "'",
                refusal(subject, "id", "e"));
        bundle.start();
    }

    private void add(Subject subject) {
        execute("block-export-add", arguments(subject));
    }

    private void remove(String mode) {
        execute("block-export-del", Map.of("id", "e", "mode", mode));
    }

    /** Adds it with one argument changed, which must fail; returns the message. */
    private String refusal(Subject subject, String name, Object value) {
        Map<String, Object> arguments = arguments(subject);
        arguments.put(name, value);
        return assertThrows(QmpException.class, () -> execute("block-export-add", arguments))
                .getMessage();
    }

    private static Map<String, Object> arguments(Subject subject) {
        Map<String, Object> arguments = new HashMap<>(subject.options());
        arguments.put("type", subject.type());
        arguments.put("id", "e");
        arguments.put("node-name", "disk");
        return arguments;
    }

    private void assertDeleted() throws InterruptedException {
        assertEquals("BLOCK_EXPORT_DELETED {id=e}", events.poll(SECONDS, TimeUnit.SECONDS));
        assertEquals(List.of(), execute("query-block-exports", Map.of()));
    }

    /** The end of the stream, or an error: no data any more. Closes the client. */
    private static void assertDisconnected(ByteChannel client) {
        try (client) {
            if (client instanceof SeekableByteChannel file) {
                file.position(4096);
            }
            assertEquals(-1, client.read(ByteBuffer.allocate(512)));
        } catch (IOException e) {
            // Of reading or of closing: a file whose file system has gone says so at both.
        }
    }

    private Object execute(String command, Map<String, ?> arguments) {
        return dispatcher.execute(command, arguments);
    }

    private static SocketChannel connect(Path socket) throws IOException {
        SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        channel.connect(UnixDomainSocketAddress.of(socket));
        return channel;
    }
}
