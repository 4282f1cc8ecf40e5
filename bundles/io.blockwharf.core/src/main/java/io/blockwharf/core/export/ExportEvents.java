package io.blockwharf.core.export;

import io.blockwharf.api.qmp.QmpEventSource;

import org.osgi.service.component.annotations.Component;

import java.util.Set;

/** Tells {@code query-qmp-schema} of the events of exports. */
@Component
public final class ExportEvents implements QmpEventSource {
    @Override
    public Set<Class<? extends Record>> eventTypes() {
        return Set.of(BlockExportDeleted.class);
    }
}
