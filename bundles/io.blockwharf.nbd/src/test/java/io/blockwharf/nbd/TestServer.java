package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.testing.TestIoThread;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;

/** A server on a local socket with exports of fakes. */
final class TestServer implements AutoCloseable {
    final Path socket;
    final NbdServer server;
    private final List<NbdExport> exports = new ArrayList<>();
    private final List<TestIoThread> loops = new ArrayList<>();

    TestServer(Path directory) throws LinuxException {
        this(directory, NbdServer.Limits.DEFAULT);
    }

    TestServer(Path directory, NbdServer.Limits limits) throws LinuxException {
        this(directory, limits, Thread.ofPlatform().daemon().factory());
    }

    TestServer(Path directory, NbdServer.Limits limits, ThreadFactory threads)
            throws LinuxException {
        socket = directory.resolve("nbd.sock");
        server =
                NbdServer.bind(
                        Optional.empty(),
                        new SocketAddress.Unix(socket.toString()),
                        limits,
                        threads);
        server.start();
    }

    NbdExport export(String name, BlockNode node) {
        return export(name, "", node, true, false);
    }

    NbdExport export(
            String name, String description, BlockNode node, boolean writable, boolean onLoop) {
        return export(name, description, node, writable, Access.OPEN, onLoop);
    }

    NbdExport export(
            String name,
            String description,
            BlockNode node,
            boolean writable,
            Access access,
            boolean onLoop) {
        Optional<TestIoThread> loop =
                onLoop ? Optional.of(new TestIoThread("loop")) : Optional.empty();
        loop.ifPresent(loops::add);
        NbdExport export =
                new NbdExport(
                        server,
                        name,
                        description,
                        node,
                        writable,
                        access,
                        loop.map(l -> l),
                        List.of(new MetaContext.Allocation(), new MetaContext.AllocationDepth()),
                        () -> {});
        server.add(export);
        exports.add(export);
        return export;
    }

    /** Waits until an export is closed. */
    static void awaitClosed(NbdExport export) {
        export.closed().toCompletableFuture().orTimeout(30, TimeUnit.SECONDS).join();
    }

    @Override
    public void close() {
        exports.forEach(NbdExport::requestShutdown);
        exports.forEach(TestServer::awaitClosed);
        server.close();
        loops.forEach(TestIoThread::close);
    }
}
