package io.blockwharf.core.control;

import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ThisProcess;

import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleEvent;
import org.osgi.framework.Constants;
import org.osgi.framework.SynchronousBundleListener;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;

import java.util.function.Consumer;

/**
 * Called by the launcher when everything is ready, with whether the daemon has left its caller
 * ({@code --daemonize}): it leaves its caller's folder then, which might be to be unmounted. Tells
 * the service manager that the daemon is ready, and when it begins to stop (sd_notify(3)).
 */
@Component(service = Consumer.class, property = "blockwharf.role=ready")
public final class Readiness implements Consumer<Boolean>, SynchronousBundleListener {
    private final BundleContext context;

    /** Not ready yet. */
    @Activate
    public Readiness(BundleContext context) {
        this.context = context;
    }

    @Override
    public void accept(Boolean detached) {
        if (detached) {
            try {
                ThisProcess.changeDirectory("/");
            } catch (LinuxException e) {
                throw new IllegalStateException(e); // there is no system without it
            }
        }
        context.addBundleListener(this);
        ThisProcess.notifyManager("READY=1");
    }

    @Override
    public void bundleChanged(BundleEvent event) {
        if (event.getType() == BundleEvent.STOPPING
                && event.getBundle().getBundleId() == Constants.SYSTEM_BUNDLE_ID) {
            ThisProcess.notifyManager("STOPPING=1");
        }
    }
}
