package io.blockwharf.linux;

import java.util.Optional;
import java.util.regex.Pattern;

/**
 * Where a socket listens or connects: QAPI's {@code SocketAddress}, whose member names are the
 * component names in kebab case (a trailing underscore is not part of the name) and whose
 * discriminator {@code type} is the record's name in lower case.
 */
public sealed interface SocketAddress {

    /** The address as a person writes it: {@code "[::1]:10809"}, {@code "/run/x.sock"}. */
    String text();

    /**
     * TCP over IPv4 or IPv6: QAPI's {@code InetSocketAddress}.
     *
     * @param host name or numeric address; empty for every address of this host
     * @param port number or service name; {@code "0"} lets the kernel choose when listening
     * @param numeric neither host nor port may need a look-up (default false)
     * @param to last port that may be tried when listening (0 to 65535; default: only {@code port})
     * @param ipv4 whether IPv4 may be used (default: as the host name resolves)
     * @param ipv6 whether IPv6 may be used (default: as the host name resolves)
     * @param keepAlive whether the kernel probes idle connections (default false)
     * @param keepAliveCount unanswered probes until the connection is dropped (uint32; default and
     *     0: the kernel's)
     * @param keepAliveIdle idle seconds before the first probe (uint32; default and 0: the
     *     kernel's)
     * @param keepAliveInterval seconds between probes (uint32; default and 0: the kernel's)
     * @param mptcp whether to use multipath TCP (default false)
     */
    record Inet(
            String host,
            String port,
            Optional<Boolean> numeric,
            Optional<Integer> to,
            Optional<Boolean> ipv4,
            Optional<Boolean> ipv6,
            Optional<Boolean> keepAlive,
            Optional<Long> keepAliveCount,
            Optional<Long> keepAliveIdle,
            Optional<Long> keepAliveInterval,
            Optional<Boolean> mptcp)
            implements SocketAddress {

        /** Checks the ranges of the numbers. */
        public Inet {
            if (to.isPresent() && (to.get() < 0 || to.get() > 0xffff)) {
                throw new IllegalArgumentException("Parameter 'to' expects uint16_t");
            }
            checkUint32("keep-alive-count", keepAliveCount);
            checkUint32("keep-alive-idle", keepAliveIdle);
            checkUint32("keep-alive-interval", keepAliveInterval);
        }

        private static void checkUint32(String name, Optional<Long> value) {
            if (value.isPresent() && (value.get() < 0 || value.get() > 0xffff_ffffL)) {
                throw new IllegalArgumentException("Parameter '" + name + "' expects uint32_t");
            }
        }

        /** Host and port, everything else as it is by default. */
        public Inet(String host, String port) {
            this(
                    host,
                    port,
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty());
        }

        @Override
        public String text() {
            return (host.indexOf(':') >= 0 ? "[" + host + "]" : host) + ":" + port;
        }
    }

    /**
     * A local socket: QAPI's {@code UnixSocketAddress}.
     *
     * @param path file system path of at most 108 bytes, or the name in the abstract namespace
     *     (107)
     * @param abstract_ whether {@code path} is a name in Linux's abstract namespace (default false)
     * @param tight whether an abstract name is exactly as long as {@code path} instead of padded
     *     with zero bytes (default true)
     * @param mode permissions of the file when listening, up to four octal digits; who may write to
     *     it may connect (default: what the umask leaves). This and the next two are not in QEMU.
     * @param owner user that the file shall belong to when listening, a name or a number (default:
     *     this process's)
     * @param group the same for the group
     */
    record Unix(
            String path,
            Optional<Boolean> abstract_,
            Optional<Boolean> tight,
            Optional<String> mode,
            Optional<String> owner,
            Optional<String> group)
            implements SocketAddress {
        private static final Pattern OCTAL = Pattern.compile("[0-7]{1,4}");

        /** Checks the permissions. */
        public Unix {
            if (mode.isPresent() && !OCTAL.matcher(mode.get()).matches()) {
                throw new IllegalArgumentException(
                        "Parameter 'mode' expects up to four octal digits");
            }
            if (abstract_.orElse(false)
                    && (mode.isPresent() || owner.isPresent() || group.isPresent())) {
                throw new IllegalArgumentException(
                        "An abstract socket has no file: 'mode', 'owner' and 'group' do not apply");
            }
        }

        /** A name with the permissions of every new file. */
        public Unix(String path, Optional<Boolean> abstract_, Optional<Boolean> tight) {
            this(path, abstract_, tight, Optional.empty(), Optional.empty(), Optional.empty());
        }

        /** A path in the file system. */
        public Unix(String path) {
            this(path, Optional.empty(), Optional.empty());
        }

        @Override
        public String text() {
            return abstract_.orElse(false) ? "@" + path : path;
        }
    }

    /**
     * A socket between a virtual machine and its host: QAPI's {@code VsockSocketAddress}.
     *
     * @param cid context id as a decimal uint32 (4294967295: any, when listening)
     * @param port port number as a decimal uint32
     */
    record Vsock(String cid, String port) implements SocketAddress {
        @Override
        public String text() {
            return "vsock:" + cid + ":" + port;
        }
    }

    /**
     * A descriptor that the parent process left open.
     *
     * @param str the decimal descriptor number, or the name of {@link ActivatedSockets}, which does
     *     not begin with a digit
     */
    record Fd(String str) implements SocketAddress {
        /** Whether it is named, so that it means something to people outside this process too. */
        public boolean isActivated() {
            return !ActivatedSockets.named(str).isEmpty();
        }

        @Override
        public String text() {
            return "fd:" + str;
        }
    }
}
