package io.blockwharf.core.job;

import io.blockwharf.api.qmp.QmpEventSource;

import org.osgi.service.component.annotations.Component;

import java.util.Set;

/** Tells {@code query-qmp-schema} of the events of jobs. */
@Component
public final class JobEvents implements QmpEventSource {
    @Override
    public Set<Class<? extends Record>> eventTypes() {
        return Set.of(JobStatusChange.class);
    }
}
