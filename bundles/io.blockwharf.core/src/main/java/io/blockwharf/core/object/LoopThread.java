package io.blockwharf.core.object;

import io.blockwharf.api.export.IoThreads;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.Epoll;
import io.blockwharf.linux.EventLoop;
import io.blockwharf.linux.LinuxException;

import java.io.UncheckedIOException;

/** An {@link EventLoop} as exports see it. */
final class LoopThread implements IoThreads.Owned {
    /** QEMU, {@code IOTHREAD_POLL_MAX_NS_DEFAULT}. */
    static final long POLL_MAX_NANOS = 32_768;

    /** Waited for. */
    private record FdWatch(EventLoop.Watch watch) implements Watch {
        @Override
        public void readable(boolean interested) {
            watch.readable(interested);
        }

        @Override
        public void writable(boolean interested) {
            watch.writable(interested);
        }

        @Override
        public void close() {
            watch.close();
        }
    }

    /** Polled, not waited for. */
    private record PollWatch(EventLoop.Poller poller) implements Watch {
        @Override
        public void readable(boolean interested) {
            throw new IllegalStateException("no descriptor");
        }

        @Override
        public void writable(boolean interested) {
            throw new IllegalStateException("no descriptor");
        }

        @Override
        public void close() {
            poller.close();
        }
    }

    private final String id;
    private final EventLoop loop;

    private LoopThread(String id, EventLoop loop) {
        this.id = id;
        this.loop = loop;
    }

    /**
     * Starts a loop.
     *
     * @throws QmpException if the host has no descriptors left
     */
    static LoopThread start(String id, String name, long maxNanos, long grow, long shrink) {
        try {
            EventLoop loop = new EventLoop(name);
            loop.polling(maxNanos, grow, shrink);
            return new LoopThread(id, loop);
        } catch (LinuxException e) {
            throw new QmpException(e.getMessage(), e);
        }
    }

    /** Changes how long the loop polls before it sleeps. From any thread. */
    void polling(long maxNanos, long grow, long shrink) {
        loop.polling(maxNanos, grow, shrink);
    }

    @Override
    public String id() {
        return id;
    }

    @Override
    public Watch watch(int fd, Runnable handler) {
        return watch(fd, handler, Epoll.IN);
    }

    @Override
    public Watch watchEdge(int fd, Runnable handler) {
        return watch(fd, handler, Epoll.IN | Epoll.EDGE);
    }

    private Watch watch(int fd, Runnable handler, int events) {
        try {
            return new FdWatch(loop.watch(fd, events, handler));
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void execute(Runnable task) {
        loop.execute(task);
    }

    @Override
    public Watch poll(PollSource source) {
        return new PollWatch(
                loop.poll(
                        new EventLoop.PollSource() {
                            @Override
                            public boolean poll() {
                                return source.poll();
                            }

                            @Override
                            public boolean sleep() {
                                return source.sleep();
                            }
                        }));
    }

    @Override
    public void close() {
        loop.close();
    }
}
