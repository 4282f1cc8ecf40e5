package io.blockwharf.nbd;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.linux.Epoll;
import io.blockwharf.linux.EventLoop;
import io.blockwharf.linux.LinuxException;

/** An iothread object as core makes it, without polling. */
final class FakeIoThread implements IoThread, AutoCloseable {
    private final EventLoop loop;

    FakeIoThread() {
        try {
            loop = new EventLoop("fake-iothread");
        } catch (LinuxException e) {
            throw new AssertionError(e);
        }
    }

    @Override
    public String id() {
        return "fake";
    }

    @Override
    public Watch watch(int fd, Runnable handler) {
        try {
            EventLoop.Watch watch = loop.watch(fd, Epoll.IN, handler);
            return new Watch() {
                private boolean in = true;
                private boolean out;

                private void change() {
                    try {
                        watch.events((in ? Epoll.IN : 0) | (out ? Epoll.OUT : 0));
                    } catch (LinuxException e) {
                        throw new AssertionError(e);
                    }
                }

                @Override
                public void readable(boolean interested) {
                    in = interested;
                    change();
                }

                @Override
                public void writable(boolean interested) {
                    out = interested;
                    change();
                }

                @Override
                public void close() {
                    watch.close();
                }
            };
        } catch (LinuxException e) {
            throw new AssertionError(e);
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
