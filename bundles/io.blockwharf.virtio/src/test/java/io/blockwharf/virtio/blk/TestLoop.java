package io.blockwharf.virtio.blk;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.linux.Epoll;
import io.blockwharf.linux.EventLoop;
import io.blockwharf.linux.LinuxException;

import java.io.UncheckedIOException;

/** An event loop as core makes them. */
public final class TestLoop implements IoThread, AutoCloseable {
    private record Watched(AutoCloseable watch) implements Watch {
        @Override
        public void readable(boolean interested) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void writable(boolean interested) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void close() {
            try {
                watch.close();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }
    }

    /** The loop itself. */
    public final EventLoop loop = new EventLoop("test");

    /** Starts it. */
    public TestLoop() throws LinuxException {}

    @Override
    public String id() {
        return "test";
    }

    private Watch watch(int fd, int events, Runnable handler) {
        try {
            return new Watched(loop.watch(fd, events, handler));
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
        return new Watched(
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
