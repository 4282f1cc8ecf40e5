package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.LinuxException;

import java.io.UncheckedIOException;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The handle of somebody outside the graph: its requests pass a {@link Gate}, so that nodes can be
 * changed below it. Requests on the edges inside the graph are parts of these.
 */
final class UserHandle extends NodeHandle {
    final Gate gate = new Gate();
    private final List<HandleQueue> queues = new CopyOnWriteArrayList<>();
    private final AtomicInteger pins = new AtomicInteger();

    UserHandle(BlockGraph graph, Node node, NodeUser user) {
        super(graph, node, "root", "an unnamed block device", user, null);
    }

    // --- Changes -----------------------------------------------------------------------------

    /** Whether descriptors of files below may be in use. */
    boolean pinned() {
        return pins.get() > 0;
    }

    /** Lets go of the drivers' queues. The gate is closed. */
    void closeQueues() {
        queues.forEach(HandleQueue::unbind);
    }

    /** Takes queues of the drivers as they are now. The gate is closed. */
    void openQueues() {
        for (HandleQueue queue : queues) {
            try {
                queue.bind();
            } catch (LinuxException | RuntimeException e) {
                // The host is short of descriptors: the requests take the threads
                graph.logger()
                        .warn("Node {} has no queue of its driver: {}", name(), e.getMessage());
            }
        }
    }

    @Override
    void queueClosed(HandleQueue queue) {
        queues.remove(queue);
    }

    // --- Requests ----------------------------------------------------------------------------

    @Override
    public boolean pin() {
        pins.incrementAndGet();
        if (gate.isOpen()) {
            return true;
        }
        pins.decrementAndGet();
        return false;
    }

    @Override
    public void unpin() {
        pins.decrementAndGet();
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        if (!gate.tryEnter()) {
            return false;
        }
        try {
            return super.tryRead(offset, into);
        } finally {
            gate.exit();
        }
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        if (!gate.tryEnter()) {
            return false;
        }
        try {
            return super.tryWrite(offset, from, flags);
        } finally {
            gate.exit();
        }
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        gate.enter();
        try {
            super.read(offset, into);
        } finally {
            gate.exit();
        }
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        gate.enter();
        try {
            super.write(offset, from, flags);
        } finally {
            gate.exit();
        }
    }

    @Override
    public void flush() throws BlockIoException {
        gate.enter();
        try {
            super.flush();
        } finally {
            gate.exit();
        }
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        gate.enter();
        try {
            super.discard(offset, length);
        } finally {
            gate.exit();
        }
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        gate.enter();
        try {
            super.writeZeroes(offset, length, flags);
        } finally {
            gate.exit();
        }
    }

    @Override
    public Extent extentAt(long offset, long length) throws BlockIoException {
        gate.enter();
        try {
            return super.extentAt(offset, length);
        } finally {
            gate.exit();
        }
    }

    @Override
    public void extents(long offset, long length, ExtentSink to) throws BlockIoException {
        gate.enter();
        try {
            super.extents(offset, length, to);
        } finally {
            gate.exit();
        }
    }

    @Override
    public Optional<HostExtent> hostExtent(long offset, long length) {
        if (!gate.tryEnter()) {
            return Optional.empty();
        }
        try {
            return super.hostExtent(offset, length);
        } finally {
            gate.exit();
        }
    }

    @Override
    public Optional<DirectAccess> directAccess(boolean write) {
        if (!gate.tryEnter()) {
            return Optional.empty();
        }
        try {
            return super.directAccess(write);
        } finally {
            gate.exit();
        }
    }

    @Override
    public void resize(long length) throws BlockIoException {
        gate.enter();
        try {
            super.resize(length);
        } finally {
            gate.exit();
        }
    }

    @Override
    public void grow(long length) throws BlockIoException {
        gate.enter();
        try {
            super.grow(length);
        } finally {
            gate.exit();
        }
    }

    @Override
    public BlockQueue openQueue(int depth) {
        checkDepth(depth);
        gate.enter();
        try {
            HandleQueue queue = new HandleQueue(this, gate, depth);
            queues.add(queue);
            return queue;
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        } finally {
            gate.exit();
        }
    }
}
