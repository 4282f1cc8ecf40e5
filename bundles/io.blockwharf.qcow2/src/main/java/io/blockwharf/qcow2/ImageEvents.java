package io.blockwharf.qcow2;

import io.blockwharf.api.qmp.QmpEventSource;

import org.osgi.service.component.annotations.Component;

import java.util.Set;

/** Tells {@code query-qmp-schema} of the events of images. */
@Component
public final class ImageEvents implements QmpEventSource {
    @Override
    public Set<Class<? extends Record>> eventTypes() {
        return Set.of(BlockImageCorrupted.class);
    }
}
