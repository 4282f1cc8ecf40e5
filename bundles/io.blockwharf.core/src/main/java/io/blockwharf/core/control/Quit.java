package io.blockwharf.core.control;

import io.blockwharf.api.export.BlockExportInfo;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleException;
import org.osgi.framework.Constants;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.util.stream.Collectors;

/**
 * QMP {@code quit}: ends all exports, whoever uses them, then the framework. The events of the
 * exports come before the reply. A front end that is stopped while it has a reply to send sends it
 * first.
 */
@Component
@QmpName("quit")
public final class Quit implements QmpCommand<Nothing, Nothing> {
    private final BlockExports exports;
    private final Runnable stop;

    /** Ends this registry's exports and this framework. */
    @Activate
    public Quit(
            BundleContext context,
            @Reference BlockExports exports,
            @Reference(service = LoggerFactory.class) Logger logger) {
        this(exports, () -> stop(context.getBundle(Constants.SYSTEM_BUNDLE_LOCATION), logger));
    }

    /**
     * Ends this registry's exports.
     *
     * @param stop ends the rest, without waiting for it
     */
    Quit(BlockExports exports, Runnable stop) {
        this.exports = exports;
        this.stop = stop;
    }

    @Override
    public Nothing execute(Nothing none) {
        exports.removeAll(
                exports.list().stream().map(BlockExportInfo::id).collect(Collectors.toSet()));
        stop.run();
        return none;
    }

    /** Returns at once: the framework stops on a thread of its own (OSGi Core, 4.2.8). */
    private static void stop(Bundle framework, Logger logger) {
        try {
            framework.stop();
        } catch (BundleException e) {
            logger.error("The framework does not stop", e);
        }
    }
}
