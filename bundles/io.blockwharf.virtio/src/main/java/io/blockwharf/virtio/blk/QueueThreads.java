package io.blockwharf.virtio.blk;

import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.IoThread;
import io.blockwharf.api.export.IoThreads;

import java.util.ArrayList;
import java.util.List;

/**
 * The threads over which an export's queues are spread: those of its {@code iothread} option, or
 * its own, one for each queue up to as many as there are processors.
 */
public final class QueueThreads implements AutoCloseable {
    private final List<IoThreads.Owned> owned = new ArrayList<>();
    private final List<? extends IoThread> threads;

    /** Threads that stay somebody else's; at least one. */
    public QueueThreads(List<? extends IoThread> threads) {
        this.threads = threads;
    }

    /**
     * Starts what has to be started.
     *
     * @param type the export's type, for the names of the threads
     */
    public QueueThreads(ExportSpec<?> spec, String type, int queues, IoThreads ioThreads) {
        if (spec.ioThreads().isEmpty()) {
            int count = Math.min(queues, Runtime.getRuntime().availableProcessors());
            for (int i = 0; i < count; i++) {
                owned.add(ioThreads.open(type + " " + spec.id() + " " + i));
            }
            threads = owned;
        } else {
            threads = spec.ioThreads();
        }
    }

    /** The thread that serves a queue. */
    public IoThread of(int queue) {
        return threads.get(queue % threads.size());
    }

    /** How many threads there are. */
    public int count() {
        return threads.size();
    }

    /** Ends the export's own threads. Idempotent. */
    @Override
    public void close() {
        owned.forEach(IoThreads.Owned::close);
    }
}
