package io.blockwharf.core.object;

import io.blockwharf.api.export.IoThreads;

import org.osgi.service.component.annotations.Component;

/** Event loops that are nobody's object. */
@Component
public final class OwnLoops implements IoThreads {
    @Override
    public Owned open(String name) {
        return LoopThread.start(name, name, LoopThread.POLL_MAX_NANOS, 0, 0);
    }
}
