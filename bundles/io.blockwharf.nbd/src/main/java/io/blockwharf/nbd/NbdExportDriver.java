package io.blockwharf.nbd;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportDriver;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.ExportType;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.nbd.wire.OptionRequest;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Exports of type {@code nbd}. */
@Component
@ExportType(NbdExportDriver.TYPE)
public final class NbdExportDriver implements BlockExportDriver<NbdExportOptions> {
    /** The type. */
    static final String TYPE = "nbd";

    private final NbdServers servers;

    /** Exports through that server. */
    @Activate
    public NbdExportDriver(@Reference NbdServers servers) {
        this.servers = servers;
    }

    @Override
    public BlockExport open(ExportSpec<NbdExportOptions> spec) {
        NbdServer server = servers.required();
        NbdExportOptions options = spec.options();
        String name = options.name().orElse(spec.node().name());
        checkLengths(name, options.description());
        if (server.export(name).isPresent()) {
            throw QmpException.generic("NBD server already has export named '%s'", name);
        }
        NbdExport export =
                new NbdExport(
                        server,
                        name,
                        options.description().orElse(""),
                        spec.node(),
                        spec.writable(),
                        spec.ioThreads().stream().findFirst(),
                        contexts(options));
        server.add(export);
        return export;
    }

    /** proto.md, "Conventions": strings have at most 4096 bytes. */
    static void checkLengths(String name, Optional<String> description) {
        if (isTooLong(name)) {
            throw QmpException.generic("export name '%s' too long", name);
        }
        if (description.isPresent() && isTooLong(description.get())) {
            throw QmpException.generic("description '%s' too long", description.get());
        }
    }

    private static boolean isTooLong(String text) {
        return text.getBytes(StandardCharsets.UTF_8).length > OptionRequest.MAX_STRING_BYTES;
    }

    private static List<MetaContext> contexts(NbdExportOptions options) {
        List<MetaContext> contexts = new ArrayList<>();
        contexts.add(new MetaContext.Allocation());
        if (options.allocationDepth().orElse(false)) {
            contexts.add(new MetaContext.AllocationDepth());
        }
        for (NbdExportOptions.BitmapReference bitmap : options.bitmaps().orElse(List.of())) {
            throw switch (bitmap) {
                case NbdExportOptions.Local(String name) ->
                        QmpException.generic("Bitmap '%s' is not found", name);
                case NbdExportOptions.External(String _, String name) ->
                        QmpException.generic("Dirty bitmap '%s' not found", name);
            };
        }
        return contexts;
    }
}
