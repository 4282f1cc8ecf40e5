package io.blockwharf.fuse;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.linux.Epoll;
import io.blockwharf.linux.EventLoop;
import io.blockwharf.linux.LinuxException;

/** An iothread for tests. */
final class LoopThread implements IoThread, AutoCloseable {
    private final EventLoop loop;

    LoopThread(String name) throws LinuxException {
        loop = new EventLoop(name);
    }

    @Override
    public String id() {
        return "loop";
    }

    @Override
    public Watch watch(int fd, Runnable handler) {
        try {
            EventLoop.Watch watch = loop.watch(fd, Epoll.IN, handler);
            return new Watch() {
                @Override
                public void readable(boolean interested) {
                    try {
                        watch.events(interested ? Epoll.IN : 0);
                    } catch (LinuxException e) {
                        throw new IllegalStateException(e);
                    }
                }

                @Override
                public void writable(boolean interested) {
                    throw new UnsupportedOperationException();
                }

                @Override
                public void close() {
                    watch.close();
                }
            };
        } catch (LinuxException e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public Watch watchEdge(int fd, Runnable handler) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void execute(Runnable task) {
        loop.execute(task);
    }

    @Override
    public Watch poll(PollSource source) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        loop.close();
    }
}
