package io.blockwharf.qmp.chardev;

import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Poll;

import org.osgi.service.log.Logger;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/**
 * A pseudo terminal in raw mode, pty(7). Whoever opens its device is the peer until it has closed
 * it; nothing tells when somebody opens it, so that is looked at four times a second.
 */
final class PseudoTerminal implements Chardev {
    private static final int LOOK_MILLIS = 250;

    // ioctl_tty(2)
    private static final long TCGETS = 0x5401;
    private static final long TCSETS = 0x5402;
    private static final long TIOCGPTN = 0x80045430L;
    private static final long TIOCSPTLCK = 0x40045431;

    /** The kernel's struct termios: four words of flags, the line discipline, 19 characters. */
    private static final int TERMIOS_BYTES = 36;

    // cfmakeraw(3): what is cleared in each of the words
    private static final int[] COOKED = {
        0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x80 | 0x100 | 0x400,
        0x1,
        0x30 | 0x100,
        0x8 | 0x40 | 0x2 | 0x1 | 0x8000
    };
    private static final int CFLAG = 2;
    private static final int CS8 = 0x30;

    private final CharDevice terminal;
    private final EventFd wake;
    private final String path;
    private final Logger logger;

    /** Who needs {@code terminal} open: this device, its peer, a thread that waits for one. */
    private int users = 1;

    private volatile boolean closed;

    PseudoTerminal(Logger logger) throws LinuxException {
        this.logger = logger;
        terminal = CharDevice.open("/dev/ptmx");
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment number = arena.allocate(ValueLayout.JAVA_INT);
            terminal.ioctl(TIOCSPTLCK, number, "ioctl TIOCSPTLCK");
            terminal.ioctl(TIOCGPTN, number, "ioctl TIOCGPTN");
            path = "/dev/pts/" + number.get(ValueLayout.JAVA_INT, 0);
            makeRaw(arena.allocate(TERMIOS_BYTES, Integer.BYTES));
            terminal.blocking(false);
            wake = EventFd.open();
        } catch (LinuxException e) {
            terminal.close();
            throw e;
        }
    }

    private void makeRaw(MemorySegment termios) throws LinuxException {
        terminal.ioctl(TCGETS, termios, "ioctl TCGETS");
        for (int i = 0; i < COOKED.length; i++) {
            int flags = termios.getAtIndex(ValueLayout.JAVA_INT, i) & ~COOKED[i];
            termios.setAtIndex(ValueLayout.JAVA_INT, i, i == CFLAG ? flags | CS8 : flags);
        }
        terminal.ioctl(TCSETS, termios, "ioctl TCSETS");
    }

    /** The device that the peer opens. */
    String path() {
        return path;
    }

    @Override
    public String filename() {
        return "pty:" + path;
    }

    @Override
    public Optional<Peer> nextPeer() {
        synchronized (this) {
            if (closed) {
                return Optional.empty();
            }
            users++;
        }
        try {
            // Opened once, it hangs up as long as nobody has it open
            CharDevice.open(path).close();
            Poll poll = new Poll(1);
            while (!closed) {
                poll.set(0, terminal.fd(), Poll.IN);
                poll.await(0);
                if ((poll.events(0) & Poll.HUP) == 0) {
                    Peer peer =
                            new StreamPeer(
                                    Optional.of(terminal),
                                    terminal,
                                    StreamPeer.AtEnd.GONE,
                                    this::release);
                    retain();
                    return Optional.of(peer);
                }
                poll.set(0, wake.fd(), Poll.IN);
                poll.await(LOOK_MILLIS);
            }
        } catch (LinuxException e) {
            logger.warn("{}: {}", filename(), e.getMessage());
        } finally {
            release();
        }
        return Optional.empty();
    }

    private synchronized void retain() {
        users++;
    }

    private synchronized void release() {
        users--;
        if (users == 0) {
            terminal.close();
            wake.close();
        }
    }

    @Override
    public void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
        }
        try {
            wake.signal();
        } catch (LinuxException e) {
            logger.info("{}", e.getMessage());
        }
        release();
    }
}
