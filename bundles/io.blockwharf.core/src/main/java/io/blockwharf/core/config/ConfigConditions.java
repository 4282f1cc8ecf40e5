package io.blockwharf.core.config;

import io.blockwharf.core.export.ExportConditions;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.LinuxException;

import org.osgi.framework.BundleContext;
import org.osgi.framework.ServiceRegistration;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.ConfigurationPolicy;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.condition.Condition;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.util.HashMap;
import java.util.Hashtable;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * Publishes each {@link Facility} that is switched on as an OSGi Condition. A switch is {@code y},
 * {@code n} or {@code auto} (the default: whether the host has it, looked at again every few
 * seconds), from the framework property of its name or else from the configuration {@value #PID}.
 *
 * <p>Withdrawing a condition ends the exports of its type: the thread that withdraws it returns
 * when the drivers have gone.
 */
@Component(
        service = ExportConditions.class,
        immediate = true,
        configurationPid = ConfigConditions.PID,
        configurationPolicy = ConfigurationPolicy.OPTIONAL)
public final class ConfigConditions implements ExportConditions {
    /** Of the configuration. */
    static final String PID = "io.blockwharf.config";

    private static final long PROBE_SECONDS = 5;

    /** Errors of a moment, which say nothing about what the host has. */
    private static final Set<Integer> TRANSIENT =
            Set.of(Errnos.EMFILE, Errnos.ENFILE, Errnos.ENOMEM, Errnos.ENOBUFS, Errnos.EINTR);

    /** Makes a condition known; closing the registration withdraws it. */
    interface Publisher {
        /** A published condition. */
        interface Published {
            void withdraw();
        }

        Published publish(String conditionId);
    }

    private final List<Facility> facilities;
    private final Function<String, Optional<String>> frameworkProperties;
    private final Publisher publisher;
    private final Logger logger;

    // Guarded by this
    private final Map<String, Publisher.Published> published = new HashMap<>();
    private Map<String, Object> configuration;
    private boolean closed;

    private volatile Map<String, Condition> conditions = Map.of();
    private Optional<ScheduledExecutorService> clock = Optional.empty();

    /** Publishes what is on now and looks again from time to time. */
    @Activate
    public ConfigConditions(
            BundleContext context,
            Map<String, Object> configuration,
            @Reference(service = LoggerFactory.class) Logger logger) {
        this(
                Facility.ALL,
                name -> Optional.ofNullable(context.getProperty(name)),
                id -> publish(context, id),
                configuration,
                logger);
        ScheduledExecutorService timer =
                Executors.newSingleThreadScheduledExecutor(
                        Thread.ofPlatform().name("host facilities").daemon().factory());
        timer.scheduleWithFixedDelay(this::refresh, PROBE_SECONDS, PROBE_SECONDS, TimeUnit.SECONDS);
        clock = Optional.of(timer);
    }

    ConfigConditions(
            List<Facility> facilities,
            Function<String, Optional<String>> frameworkProperties,
            Publisher publisher,
            Map<String, Object> configuration,
            Logger logger) {
        this.facilities = facilities;
        this.frameworkProperties = frameworkProperties;
        this.publisher = publisher;
        this.logger = logger;
        configure(configuration);
    }

    /** The configuration has changed. */
    @Modified
    void configure(Map<String, Object> changed) {
        synchronized (this) {
            configuration = Map.copyOf(changed);
        }
        refresh();
    }

    /** Withdraws everything. */
    @Deactivate
    void close() {
        clock.ifPresent(ScheduledExecutorService::shutdown);
        synchronized (this) {
            closed = true;
            conditions = Map.of();
            published.values().forEach(Publisher.Published::withdraw);
            published.clear();
        }
    }

    @Override
    public Map<String, Condition> conditions() {
        return conditions;
    }

    /** Looks at the configuration and the host again, publishes and withdraws. */
    synchronized void refresh() {
        if (closed) {
            return;
        }
        Map<String, Condition> before = conditions;
        Map<String, Condition> now = new TreeMap<>();
        for (Facility facility : facilities) {
            now.put(facility.exportType(), decide(facility, before.get(facility.exportType())));
        }
        conditions = Map.copyOf(now);
        for (Facility facility : facilities) {
            Condition condition = now.get(facility.exportType());
            if (!condition.equals(before.get(facility.exportType()))) {
                logger.info("{}: {}", facility.exportType(), condition.reason());
            }
            apply(facility.condition(), condition.satisfied());
        }
    }

    private void apply(String id, boolean satisfied) {
        try {
            if (satisfied && !published.containsKey(id)) {
                published.put(id, publisher.publish(id));
            } else if (!satisfied && published.containsKey(id)) {
                published.remove(id).withdraw();
            }
        } catch (IllegalStateException e) {
            logger.debug("The bundle is just being stopped", e);
        }
    }

    private Condition decide(Facility facility, Condition before) {
        String name = facility.condition();
        String text =
                frameworkProperties
                        .apply(name)
                        .orElseGet(() -> configuration.getOrDefault(name, "auto").toString())
                        .strip();
        return switch (text.toLowerCase(Locale.ROOT)) {
            case "y" -> new Condition(true, name + "=y");
            case "n" -> new Condition(false, name + "=n");
            case "auto" -> probe(facility, name + "=auto", before);
            default -> probe(facility, name + "=" + text + " is not y, n or auto", before);
        };
    }

    private static Condition probe(Facility facility, String setting, Condition before) {
        try {
            facility.probe().run();
            return new Condition(true, setting + ", and " + facility.name() + " works");
        } catch (LinuxException e) {
            if (before != null && TRANSIENT.contains(e.errno())) {
                return before;
            }
            return new Condition(
                    false, setting + ", but " + facility.name() + ": " + Errnos.text(e.errno()));
        }
    }

    private static Publisher.Published publish(BundleContext context, String id) {
        Hashtable<String, Object> properties = new Hashtable<>();
        properties.put(org.osgi.service.condition.Condition.CONDITION_ID, id);
        ServiceRegistration<?> registration =
                context.registerService(
                        org.osgi.service.condition.Condition.class,
                        org.osgi.service.condition.Condition.INSTANCE,
                        properties);
        return registration::unregister;
    }
}
