package io.blockwharf.nbd.client;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.nbd.wire.OptionRequest;
import io.blockwharf.nbd.wire.TransmissionFlags;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.function.Supplier;

import javax.net.ssl.SSLEngine;

/** Driver {@code nbd}: exports of an NBD server. */
@Component
@BlockDriverName("nbd")
public final class NbdDriver implements BlockDriver<NbdOptions> {
    private final ObjectStore objects;
    private final Logger logger;

    /** Takes TLS credentials from there. */
    @Activate
    public NbdDriver(
            @Reference ObjectStore objects,
            @Reference(service = LoggerFactory.class) Logger logger) {
        this.objects = objects;
        this.logger = logger;
    }

    @Override
    public BlockImage open(NodeSpec<NbdOptions> spec) {
        NbdOptions options = spec.options();
        String export = options.export().orElse("");
        check("export name", export);
        options.xDirtyBitmap().ifPresent(query -> check("x-dirty-bitmap query", query));
        Attempt.Target target =
                new Attempt.Target(
                        options.server(),
                        export,
                        options.xDirtyBitmap().orElse("base:allocation"),
                        options.xDirtyBitmap().isPresent(),
                        options.tlsCreds().map(id -> engine(id, options)));
        try {
            Remote remote =
                    Remote.open(
                            spec.nodeName(),
                            target,
                            options.openTimeout().orElse(0L),
                            options.reconnectDelay().orElse(0L),
                            spec.flags().readOnly(),
                            logger);
            boolean mayWrite =
                    !remote.terms().has(TransmissionFlags.READ_ONLY)
                            || spec.flags().readOnly()
                            || spec.flags().autoReadOnly();
            if (!mayWrite) {
                remote.close();
                throw QmpException.generic("request on write denied without write permission");
            }
            return new NbdImage(remote, filename(options.server(), export));
        } catch (Refusal e) {
            throw new QmpException(e.getMessage(), e).withHint(e.hint());
        } catch (IOException e) {
            throw new QmpException(e.getMessage(), e);
        }
    }

    /** The connection stays; there is nothing else that could change. */
    @Override
    public boolean reconfigure(BlockImage image, NodeSpec<NbdOptions> spec) {
        NbdImage open = (NbdImage) image;
        OpenFlags flags = spec.flags();
        if (open.readOnly() && !flags.readOnly() && !flags.autoReadOnly()) {
            throw QmpException.generic("Can't reopen read-only NBD mount as read/write");
        }
        open.reopened(flags.readOnly());
        return true;
    }

    private static void check(String what, String text) {
        if (text.getBytes(StandardCharsets.UTF_8).length > OptionRequest.MAX_STRING_BYTES) {
            throw QmpException.generic("%s too long to send to server", what);
        }
    }

    private Supplier<SSLEngine> engine(String id, NbdOptions options) {
        if (!objects.exists(id)) {
            throw QmpException.generic("No TLS credentials with id '%s'", id);
        }
        TlsCredentials credentials =
                objects.find(id, TlsCredentials.class)
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Object with id '%s' is not TLS credentials", id));
        if (credentials.forServer()) {
            throw QmpException.generic("Expected TLS credentials for a client endpoint");
        }
        Optional<String> host =
                options.server() instanceof SocketAddress.Inet inet
                        ? Optional.of(inet.host())
                        : Optional.empty();
        String name = options.tlsHostname().or(() -> host).orElse("");
        return () -> credentials.newClientEngine(name);
    }

    /** The URI, as QEMU makes it (block/nbd.c, {@code nbd_refresh_filename}). */
    private static String filename(SocketAddress server, String export) {
        return switch (server) {
            case SocketAddress.Unix unix ->
                    "nbd+unix:///%s?socket=%s".formatted(export, unix.path());
            case SocketAddress.Inet inet ->
                    "nbd://%s%s".formatted(inet.text(), export.isEmpty() ? "" : "/" + export);
            case SocketAddress.Vsock _, SocketAddress.Fd _ ->
                    "nbd://%s%s".formatted(server.text(), export.isEmpty() ? "" : "/" + export);
        };
    }
}
