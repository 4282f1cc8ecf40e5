package io.blockwharf.testing;

import io.blockwharf.api.export.IoThreads;
import io.blockwharf.linux.Epoll;
import io.blockwharf.linux.EventLoop;
import io.blockwharf.linux.LinuxException;

import java.io.UncheckedIOException;

/**
 * An event loop as core makes them for {@code iothread} objects. That the API's words stand for the
 * loop's is said in core, too: the linux bundle may not know the API, and core exports nothing.
 */
public final class TestIoThread implements IoThreads.Owned {
    private final String id;
    private final EventLoop loop;

    /**
     * Starts a loop.
     *
     * @throws UncheckedIOException if the host has no descriptors left
     */
    public TestIoThread(String id) {
        this.id = id;
        try {
            loop = new EventLoop(id);
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The loop underneath, for its settings. */
    public EventLoop loop() {
        return loop;
    }

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

    @Override
    public String id() {
        return id;
    }

    private Watch watch(int fd, int events, Runnable handler) {
        try {
            return new FdWatch(loop.watch(fd, events, handler));
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public Watch watch(int fd, Runnable handler) {
        return watch(fd, Epoll.IN, handler);
    }

    @Override
    public Watch watchEdge(int fd, Runnable handler) {
        return watch(fd, Epoll.IN | Epoll.EDGE, handler);
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
