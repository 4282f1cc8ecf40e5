package io.blockwharf.fuse;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportDriver;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.ExportType;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.framework.BundleContext;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.ConfigurationPolicy;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.propertytypes.SatisfyingConditionTarget;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.util.HashMap;
import java.util.Map;

/**
 * Exports of type {@code fuse}. Settings (see {@link FuseSettings}) come from the configuration
 * {@code io.blockwharf.fuse} or, first, from framework properties {@code io.blockwharf.fuse.NAME}.
 */
@Component(
        configurationPid = "io.blockwharf.fuse",
        configurationPolicy = ConfigurationPolicy.OPTIONAL)
@ExportType("fuse")
@SatisfyingConditionTarget("(osgi.condition.id=CONFIG_FUSE)")
public final class FuseExportDriver implements BlockExportDriver<BlockExportOptionsFuse> {
    private final BundleContext context;
    private final Logger log;

    /** By mountpoint as it was given; the value is where that really is. Core's lock guards it. */
    private final Map<String, String> mountpoints = new HashMap<>();

    private volatile FuseSettings settings;

    /** Made by the component runtime. */
    @Activate
    public FuseExportDriver(
            BundleContext context,
            Map<String, Object> properties,
            @Reference(service = LoggerFactory.class) Logger log) {
        this.context = context;
        this.log = log;
        configure(properties);
    }

    /** Takes over changed settings, for exports that are opened from now on. */
    @Modified
    void configure(Map<String, Object> properties) {
        settings =
                FuseSettings.of(
                        name -> {
                            String forced = context.getProperty("io.blockwharf.fuse." + name);
                            return forced != null ? forced : properties.get(name);
                        },
                        log);
    }

    @Override
    public boolean multiThreaded() {
        return true;
    }

    @Override
    public BlockExport open(ExportSpec<BlockExportOptionsFuse> spec) {
        FuseExport.takePermissions(spec);
        String mountpoint = spec.options().mountpoint();
        synchronized (mountpoints) {
            if (mountpoints.containsKey(mountpoint)) {
                throw taken(mountpoint);
            }
            String target = FuseMount.locate(mountpoint);
            if (mountpoints.containsValue(target)) {
                throw taken(mountpoint);
            }
            FuseExport export = FuseExport.start(spec, target, settings, log);
            mountpoints.put(mountpoint, target);
            export.closed().thenRun(() -> release(mountpoint));
            return export;
        }
    }

    private void release(String mountpoint) {
        synchronized (mountpoints) {
            mountpoints.remove(mountpoint);
        }
    }

    private static QmpException taken(String mountpoint) {
        return QmpException.generic("There already is a FUSE export on '%s'", mountpoint);
    }
}
