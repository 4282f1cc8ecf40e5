package io.blockwharf.core.control;

import org.osgi.framework.Constants;
import org.osgi.framework.ServiceReference;
import org.osgi.service.component.ComponentServiceObjects;
import org.osgi.service.log.Logger;

import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What OSGi gives to components. */
public final class Fakes {
    private Fakes() {}

    /** A registered service that counts how often it was fetched and given back. */
    public static final class Service<S> implements ComponentServiceObjects<S> {
        private static long lastId;

        private final S service;
        private final Map<String, Object> properties;
        private int fetched;

        /** Name-value pairs are the properties. */
        public Service(S service, Object... properties) {
            this.service = service;
            this.properties = new HashMap<>();
            this.properties.put(Constants.SERVICE_ID, ++lastId);
            for (int i = 0; i < properties.length; i += 2) {
                this.properties.put(properties[i].toString(), properties[i + 1]);
            }
        }

        public Map<String, Object> properties() {
            return properties;
        }

        /** How often it was fetched and not given back. */
        public int fetched() {
            return fetched;
        }

        @Override
        public S getService() {
            fetched++;
            return service;
        }

        @Override
        public void ungetService(S same) {
            fetched--;
        }

        @Override
        public ServiceReference<S> getServiceReference() {
            throw new UnsupportedOperationException();
        }
    }

    /** A logger that keeps what was logged: level and arguments. */
    public static Logger logger(List<String> log) {
        return (Logger)
                Proxy.newProxyInstance(
                        Fakes.class.getClassLoader(),
                        new Class<?>[] {Logger.class},
                        (_, method, arguments) -> {
                            if (method.getReturnType() == boolean.class) {
                                return true;
                            }
                            List<Object> flat = new ArrayList<>();
                            for (Object argument : arguments) {
                                if (argument instanceof Object[] several) {
                                    flat.addAll(Arrays.asList(several));
                                } else {
                                    flat.add(argument);
                                }
                            }
                            log.add(method.getName() + " " + flat);
                            return null;
                        });
    }
}
