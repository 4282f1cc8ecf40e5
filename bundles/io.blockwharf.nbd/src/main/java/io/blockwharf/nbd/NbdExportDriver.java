package io.blockwharf.nbd;

import io.blockwharf.api.block.DirtyBitmap;
import io.blockwharf.api.block.DirtyBitmaps;
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
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** Exports of type {@code nbd}. */
@Component
@ExportType(NbdExportDriver.TYPE)
public final class NbdExportDriver implements BlockExportDriver<NbdExportOptions> {
    /** The type. */
    static final String TYPE = "nbd";

    private final NbdServers servers;
    private final DirtyBitmaps bitmaps;

    /** Exports through these servers, and shows these bitmaps. */
    @Activate
    public NbdExportDriver(@Reference NbdServers servers, @Reference DirtyBitmaps bitmaps) {
        this.servers = servers;
        this.bitmaps = bitmaps;
    }

    @Override
    public boolean supportsInactive() {
        return true;
    }

    @Override
    public BlockExport open(ExportSpec<NbdExportOptions> spec) {
        NbdServers.Chosen chosen = servers.choose(spec.options().server());
        try {
            return open(spec, chosen);
        } catch (RuntimeException | Error e) {
            chosen.release().run();
            throw e;
        }
    }

    private BlockExport open(ExportSpec<NbdExportOptions> spec, NbdServers.Chosen chosen) {
        NbdServer server = chosen.server();
        NbdExportOptions options = spec.options();
        String name = options.name().orElse(spec.node().name());
        checkLengths(name, options.description());
        if (server.export(name).isPresent()) {
            throw QmpException.generic("NBD server already has export named '%s'", name);
        }
        List<MetaContext> contexts = contexts(spec);
        NbdExport export =
                new NbdExport(
                        server,
                        name,
                        options.description().orElse(""),
                        spec.node(),
                        spec.writable(),
                        servers.access(options),
                        spec.ioThreads().stream().findFirst(),
                        contexts,
                        () -> {
                            giveBack(contexts);
                            server.ends(spec.id());
                            chosen.release().run();
                        });
        server.begins(spec.id());
        server.add(export);
        return export;
    }

    /** Bitmaps of these contexts are not busy any more. */
    private static void giveBack(List<MetaContext> contexts) {
        for (MetaContext context : contexts) {
            if (context instanceof MetaContext.Dirty(int _, DirtyBitmap bitmap)) {
                bitmap.close();
            }
        }
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

    private List<MetaContext> contexts(ExportSpec<NbdExportOptions> spec) {
        List<MetaContext> contexts = new ArrayList<>();
        contexts.add(new MetaContext.Allocation());
        if (spec.options().allocationDepth().orElse(false)) {
            contexts.add(new MetaContext.AllocationDepth());
        }
        int id = MetaContext.Dirty.FIRST_ID;
        Set<DirtyBitmaps.Found> seen = new HashSet<>();
        try {
            for (NbdExportOptions.BitmapReference each :
                    spec.options().bitmaps().orElse(List.of())) {
                DirtyBitmaps.Found found = find(spec, each);
                if (seen.add(found)) { // named twice is no mistake
                    contexts.add(new MetaContext.Dirty(id++, found.use()));
                }
            }
        } catch (QmpException e) {
            giveBack(contexts);
            throw e;
        }
        return contexts;
    }

    private DirtyBitmaps.Found find(
            ExportSpec<NbdExportOptions> spec, NbdExportOptions.BitmapReference reference) {
        return switch (reference) {
            case NbdExportOptions.Local(String name) -> {
                DirtyBitmaps.Found found =
                        bitmaps.find(spec.node().name(), name, true)
                                .orElseThrow(
                                        () ->
                                                QmpException.generic(
                                                        "Bitmap '%s' is not found", name));
                if (found.enabled() && !spec.writable() && !found.nodeReadOnly()) {
                    throw QmpException.generic(
                            "Enabled bitmap '%s' incompatible with readonly export", name);
                }
                yield found;
            }
            case NbdExportOptions.External(String node, String name) ->
                    bitmaps.find(node, name, false)
                            .orElseThrow(
                                    () ->
                                            QmpException.generic(
                                                    "Dirty bitmap '%s' not found", name));
        };
    }
}
