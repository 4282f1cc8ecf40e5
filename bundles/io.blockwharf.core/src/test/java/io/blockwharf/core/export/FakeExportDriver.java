package io.blockwharf.core.export;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportDriver;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.qmp.QmpException;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/** An export type whose exports are what the test says. */
final class FakeExportDriver implements BlockExportDriver<FakeExportDriver.Options> {
    record Options() {}

    /** A running export. */
    static final class FakeExport implements BlockExport {
        final ExportSpec<Options> spec;
        final CompletableFuture<Void> closed = new CompletableFuture<>();
        int shutdowns;
        int removals;
        boolean used;

        /** What {@link #requestHide} was called with; empty if this type cannot. */
        Optional<List<Boolean>> hides = Optional.of(new ArrayList<>());

        /** Whether it ends as soon as it is told to, as one without requests does. */
        boolean prompt = true;

        FakeExport(ExportSpec<Options> spec) {
            this.spec = spec;
        }

        @Override
        public boolean inUse() {
            return used;
        }

        @Override
        public void requestShutdown() {
            shutdowns++;
            if (prompt) {
                closed.complete(null);
            }
        }

        @Override
        public void requestRemoval() {
            removals++;
            requestShutdown();
        }

        @Override
        public void requestHide(boolean refuseRequests) {
            if (hides.isEmpty()) {
                BlockExport.super.requestHide(refuseRequests);
            }
            hides.orElseThrow().add(refuseRequests);
            if (!used) {
                closed.complete(null);
            }
        }

        @Override
        public CompletionStage<Void> closed() {
            return closed;
        }

        @Override
        public Map<String, Object> details() {
            return Map.of("shutdowns", shutdowns);
        }
    }

    final Map<String, FakeExport> exports = new LinkedHashMap<>();
    final boolean multiThreaded;
    boolean supportsInactive;
    Optional<String> refusal = Optional.empty();

    FakeExportDriver(boolean multiThreaded) {
        this.multiThreaded = multiThreaded;
    }

    @Override
    public BlockExport open(ExportSpec<Options> spec) {
        if (refusal.isPresent()) {
            throw QmpException.generic("%s", refusal.get());
        }
        FakeExport export = new FakeExport(spec);
        exports.put(spec.id(), export);
        return export;
    }

    @Override
    public boolean supportsInactive() {
        return supportsInactive;
    }

    @Override
    public boolean multiThreaded() {
        return multiThreaded;
    }
}
